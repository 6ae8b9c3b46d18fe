/// The kind of a request to a disk.
public enum RequestKind: UInt8, Sendable {
    case read
    case write
    case flush
    case trim
    case writeZeroes
    /// Advises the device that the range will soon be read.
    case cache
    /// Asks for the state of the range; the answer is extents in `buffer`.
    case status

    /// Whether `length` bytes go into or out of a buffer.
    public var carriesData: Bool { self == .read || self == .write }

    /// Whether the request may alter the disk.
    public var isChange: Bool { self == .write || self == .trim || self == .writeZeroes }
}
