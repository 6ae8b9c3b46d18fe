/// A partition of a disk, or all of it, as the helper tells of it for a trim.
public struct Volume: Sendable, Equatable {
    /// Bytes of the disk.
    public var bytes: Range<UInt64>
    /// The file system as libblkid calls it, such as `ext4`; nil if it is none whose free blocks can be told.
    public var fileSystem: String?
    /// Whether its free runs hold nothing that anybody needs.
    public var verdict: VolumeVerdict
    /// The free runs, in bytes of the disk, ascending; none unless the verdict is `clean` or `untold`.
    public var free: [Range<UInt64>] = []
}
