@testable import MigrationCore

/// Finds the pages in the stream of a simulated hypervisor, by their headers.
struct SimMemoryParser: StreamParser {
    static let pageFlags: UInt64 = 0x28
    static let zeroFlags: UInt64 = 0x22

    var problem: String? { nil }
    /// Bytes of a page whose beginning went as bytes.
    private var rest = 0

    mutating func parse(_ bytes: UnsafeRawBufferPointer, isWaiting: Bool, into parts: inout [StreamPart]) -> Int {
        var offset = 0
        while offset < bytes.count {
            let left = bytes.count - offset
            let part = rest > 0 ? StreamPart(.bytes, min(rest, left)) : next(bytes, offset)
            guard let part, isWaiting || rest > 0 || part.count <= left else { break }
            if rest > 0 {
                rest -= part.count
                parts.append(part)
            } else if part.count <= left {
                parts.append(part)
            } else {
                parts.append(StreamPart(.bytes, left))
                rest = part.count - left
            }
            offset += parts.last!.count
        }
        return offset
    }

    /// The part that begins there; nil if it is not known yet.
    private func next(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> StreamPart? {
        guard bytes.count - offset >= StreamPart.headerBytes else { return nil }
        let header = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        switch header & 0xfff {
        case Self.pageFlags: return StreamPart(.page, StreamPart.count(of: .page))
        case Self.zeroFlags: return StreamPart(.zeroPage, StreamPart.count(of: .zeroPage))
        default: return StreamPart(.bytes, StreamPart.headerBytes)
        }
    }
}
