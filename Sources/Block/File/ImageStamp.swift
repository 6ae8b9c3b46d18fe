/// Tells an unchanged image from a rewritten one, by what `stat(2)` says.
///
/// Two equal stamps mean "nobody has written this file since", as far as time stamps can tell; it is a reason
/// to skip work, never a reason to trust bytes.
public struct ImageStamp: Codable, Hashable, Sendable {
    /// The device that holds the file, or the block device's own number.
    public let device: UInt64
    /// The inode; 0 for a block device.
    public let inode: UInt64
    /// Bytes.
    public let size: UInt64
    /// Nanoseconds since 1970 of the last change of the contents; 0 for a block device.
    public let modified: Int64

    /// A stamp from its parts.
    public init(device: UInt64, inode: UInt64, size: UInt64, modified: Int64) {
        self.device = device
        self.inode = inode
        self.size = size
        self.modified = modified
    }
}
