import Foundation
import Glibc

/// Temporary files that killed processes have left in a state directory.
extension StateDirectory {
    /// Seconds. Processes of other containers, which may share the directory, can't be looked for: a younger file may be in
    /// use by one. A write takes milliseconds, or minutes on storage that hangs.
    private static let youngest = 3600

    /// Removes the temporary files of processes that were killed. Only for the node that holds the directory's lock, before
    /// it writes a record. A file that can't be removed stays for a later start.
    /// - Returns: the names of the files that are gone, in order.
    public func removeLeftovers() -> [String] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: scratch) else { return [] }
        return names.sorted().filter { name in
            Self.isLeftover(name) && Self.isOld("\(scratch)/\(name)") && unlink("\(scratch)/\(name)") == 0
        }
    }

    /// Whether a file has the name of a temporary file of this program, and its process is gone.
    private static func isLeftover(_ name: String) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.last == "tmp" else { return false }
        // The scratch files of `FingerprintFile` and `KeptPages`, which lose their names as soon as they are made.
        if parts.count == 2 { return parts[0].wholeMatch(of: #/(manifest|memory)-[0-9a-f]{32}/#) != nil }
        guard parts.count == 4, parts[0].wholeMatch(of: #/[a-z]+-[0-9a-f]{32}|completed/#) != nil, parts[1] == "json",
            let process = pid_t(parts[2]), process > 0
        else { return false }
        // In a container, each life of a node may have the same number.
        return process == getpid() || kill(process, 0) != 0 && errno == ESRCH
    }

    private static func isOld(_ path: String) -> Bool {
        var info = stat()
        return lstat(path, &info) == 0 && time(nil) - info.st_mtim.tv_sec >= youngest
    }
}
