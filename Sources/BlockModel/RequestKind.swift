/// Names what a request asks of a disk.
public enum RequestKind: UInt8, Sendable {
    case read
    case write
    case flush
    case trim
    case writeZeroes
    /// Advice that the range will soon be read.
    case cache
    /// Asks how the range is kept; the answer is in `extents`.
    case status

    /// Whether `length` bytes go into or out of a buffer.
    public var carriesData: Bool { self == .read || self == .write }

    /// Whether it may alter the disk.
    public var isChange: Bool { self == .write || self == .trim || self == .writeZeroes }
}
