import CLinux
import Glibc

/// Tells one file from every other, over renames, remounts and restarts.
public struct FileIdentity: Codable, Hashable, Sendable {
    /// The file system that holds the file.
    public var fileSystem: FileSystemIdentity
    /// The inode number, which another file may get after this one is deleted.
    public var inode: UInt64
    /// The time of the file's creation in nanoseconds since 1970, statx(2); nil if the file system does not say.
    public var birthTime: Int64?

    /// Creates an identity from its parts.
    public init(fileSystem: FileSystemIdentity, inode: UInt64, birthTime: Int64?) {
        self.fileSystem = fileSystem
        self.inode = inode
        self.birthTime = birthTime
    }

    /// Reads the identity of an open file.
    init(of descriptor: CInt, _ info: stat) {
        fileSystem = FileSystemIdentity(of: descriptor, device: UInt64(info.st_dev))
        inode = UInt64(info.st_ino)
        let time = linux_birth_time(descriptor)
        birthTime = time < 0 ? nil : time
    }

    /// Whether both belong to one file, according to these facts.
    public func isSame(as other: FileIdentity) -> Bool {
        inode == other.inode && birthTime == other.birthTime && fileSystem.isSame(as: other.fileSystem)
    }
}
