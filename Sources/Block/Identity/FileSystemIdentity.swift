import CLinux
import Foundation
import Glibc

/// Tells one file system from every other, over remounts, restarts and other device numbers.
///
/// A kernel of another release may tell more or less of the same file system. So two identities are compared by the
/// strongest fact that both have.
public struct FileSystemIdentity: Codable, Hashable, Sendable {
    /// The UUID in its superblock, in hexadecimal; nil where there is none, or the kernel does not tell.
    public var uuid: String?
    /// `f_fsid` of statfs(2), in hexadecimal; nil where the file system has none.
    public var id: String?
    /// Type and source of the mount, as in `nfs4 server:/export`; kept only where the two others are nil.
    public var source: String?

    /// An identity from its parts.
    public init(uuid: String? = nil, id: String? = nil, source: String? = nil) {
        self.uuid = uuid
        self.id = id
        self.source = source
    }

    /// The file system that holds an open file.
    /// - Parameter device: the file's `st_dev`.
    init(of descriptor: CInt, device: UInt64) {
        var bytes = [UInt8](repeating: 0, count: 16)
        if linux_file_system_uuid(descriptor, &bytes) == 0 {
            uuid = bytes.map { String(format: "%02x", $0) }.joined()
        }
        let number = linux_file_system_id(descriptor)
        if number != 0 { id = String(number, radix: 16) }
        if uuid == nil && id == nil { source = Self.mountSource(of: device) }
    }

    /// The strongest fact; nil where there is none.
    var strongest: String? { uuid ?? id ?? source }

    /// Whether both are of one file system; false where they have no fact in common.
    public func isSame(as other: FileSystemIdentity) -> Bool {
        if let uuid, let theirs = other.uuid { return uuid == theirs }
        if let id, let theirs = other.id { return id == theirs }
        if let source, let theirs = other.source { return source == theirs }
        return false
    }

    /// The line of a device in `/proc/self/mountinfo`; proc_pid_mountinfo(5).
    private static func mountSource(of device: UInt64) -> String? {
        let number = "\(linux_major(device)):\(linux_minor(device))"
        guard let mounts = try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8) else { return nil }
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 2, fields[2] == number, let separator = fields.lastIndex(of: "-"),
                separator + 2 < fields.count
            else { continue }
            return "\(fields[separator + 1]) \(fields[separator + 2])"
        }
        return nil
    }
}
