import Glibc

/// The permissions of a file with a private or preshared key.
struct KeyMode {
    /// Others than the owner may do these things with a file.
    private static let othersMayUse = S_IRWXO | S_IWGRP

    private let path: String
    private let info: stat

    /// Nil if the file can't be looked at.
    init?(_ path: String) {
        var info = stat()
        guard stat(path, &info) == 0 else { return nil }
        self.path = path
        self.info = info
    }

    /// Fault and remedy if anyone on the machine, or more than one user, can use or replace the key; nil otherwise.
    var exposure: String? {
        guard info.st_mode & Self.othersMayUse != 0 else { return nil }
        return "\(path) has mode \(octal), so that others can use it: \(remedy)"
    }

    /// A group that can read the key and that this process is not in by its main group; nil if there is none.
    var readingGroup: String? {
        guard info.st_mode & S_IRWXG != 0, geteuid() == 0 || info.st_gid != getegid() else { return nil }
        return "\(path) has mode \(octal), so that group \(info.st_gid) can read the key"
    }

    private var octal: String { "0" + String(info.st_mode & 0o777, radix: 8) }

    /// The commands after which this process can still read the key.
    private var remedy: String {
        if geteuid() == 0 || info.st_uid == geteuid() { return "chmod 600 \(path)" }
        if info.st_gid == getegid() { return "chmod 640 \(path)" }
        let group = getgrgid(getegid()).map { String(cString: $0.pointee.gr_name) } ?? String(getegid())
        return "chgrp \(group) \(path) && chmod 640 \(path)"
    }
}

extension TLSFiles {
    /// Looks at what is wrong with files that can be used: dates, and keys that others can read. Blocks the thread.
    public func problems() -> [CertificateProblem] {
        dateProblems() + [key, keys].compactMap { $0 }.compactMap { KeyMode($0)?.exposure }.map { .warning($0) }
    }
}
