import CLinux
import Foundation
import Glibc

/// Tells one file system from every other, across remounts, reboots and changed device numbers.
///
/// Another kernel release may tell more or fewer facts of the same file system. Two identities are therefore compared
/// by the strongest fact that both have.
public struct FileSystemIdentity: Codable, Hashable, Sendable {
    /// The UUID in the superblock, in hexadecimal; nil if there is none or the kernel does not tell.
    public var uuid: String?
    /// `f_fsid` of statfs(2), in hexadecimal; nil if the file system has none.
    public var id: String?
    /// Type and source of the mount, as in `nfs4 server:/export`; set only if `uuid` and `id` are nil.
    public var source: String?

    /// Creates an identity from its parts.
    public init(uuid: String? = nil, id: String? = nil, source: String? = nil) {
        self.uuid = uuid
        self.id = id
        self.source = source
    }

    /// Reads the identity of the file system that holds an open file.
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

    /// The strongest fact; nil if none is known.
    var strongest: String? { uuid ?? id ?? source }

    /// Whether both belong to one file system; false if they have no fact in common.
    public func isSame(as other: FileSystemIdentity) -> Bool {
        if let uuid, let theirs = other.uuid { return uuid == theirs }
        if let id, let theirs = other.id { return id == theirs }
        if let source, let theirs = other.source { return source == theirs }
        return false
    }

    /// Finds type and source of a device's mount in `/proc/self/mountinfo`, proc_pid_mountinfo(5); nil if it is not
    /// there.
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
