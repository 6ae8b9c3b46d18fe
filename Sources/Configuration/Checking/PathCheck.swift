import Glibc

/// Looks at paths and host names that a node would use, as this process's user, and changes nothing.
public enum PathCheck {
    /// Returns the reason why files can't be created in a directory, or why it can't be made; nil if there is none.
    /// - Parameter made: Directories that somebody else makes in time, for this process's user.
    public static func problem(withDirectory path: String, made: [String] = []) -> String? {
        var info = stat()
        if stat(path, &info) == 0 {
            guard info.st_mode & S_IFMT == S_IFDIR else { return "\(path) is not a directory; give one" }
            guard access(path, R_OK | W_OK | X_OK) == 0 else {
                return "\(path) can't be written to: \(reason); change its mode or owner"
            }
            return nil
        }
        guard errno == ENOENT else { return "\(path): \(reason)" }
        if made.contains(path) { return nil }
        // A node makes a missing directory, with those above it.
        guard let parent = parent(of: path) else { return nil }
        return problem(withDirectory: parent, made: made).map { "\(path) does not exist, and can't be made: \($0)" }
    }

    /// As `problem(withDirectory:)`, for a directory to which nobody else may write.
    static func problem(withSharedDirectory path: String) -> String? {
        var info = stat()
        guard stat(path, &info) == 0 else { return "\(path): \(reason); make it, with mode 0755" }
        guard info.st_mode & S_IFMT == S_IFDIR else { return "\(path) is not a directory; give one" }
        let isSafe = (info.st_uid == geteuid() || info.st_uid == 0) && info.st_mode & (S_IWGRP | S_IWOTH) == 0
        return isSafe ? nil : "others may write to \(path), or own it; chmod go-w, or chown it"
    }

    /// Returns the reason why a Unix socket can't be made at a path; nil if there is none.
    static func problem(withSocket path: String, made: [String] = []) -> String? {
        var info = stat()
        if lstat(path, &info) == 0, info.st_mode & S_IFMT != S_IFSOCK {
            return "\(path) is there, and is not a socket; remove it, or give another path"
        }
        return parent(of: path).flatMap { problem(withDirectory: $0, made: made) }
    }

    /// Returns the reason why a host name has no address; nil if it has one. May wait for a name server.
    static func problem(withHost host: String) -> String? {
        guard !host.isEmpty else { return nil }
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &found)
        guard code == 0 else {
            return "the host '\(host)' has no address: \(String(cString: gai_strerror(code))); give one that has"
        }
        freeaddrinfo(found)
        return nil
    }

    private static var reason: String { String(cString: strerror(errno)) }

    /// Returns nil for the root and the current directory.
    private static func parent(of path: String) -> String? {
        var path = Substring(path)
        while path.count > 1, path.hasSuffix("/") { path = path.dropLast() }
        guard path != "/", path != "." else { return nil }
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
