import MigrationCore

/// Finds the pages of a stream that has nothing else, by their headers.
struct HeaderParser: StreamParser {
    static let pageFlags: UInt64 = 0x28
    static let zeroFlags: UInt64 = 0x22

    var problem: String? { nil }

    mutating func parse(_ bytes: UnsafeRawBufferPointer, isWaiting: Bool, into parts: inout [StreamPart]) -> Int {
        var offset = 0
        while bytes.count - offset >= StreamPart.headerBytes {
            let header = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            let kind: StreamPart.Kind = header & 2 == 0 ? .page : .zeroPage
            let count = StreamPart.count(of: kind)
            guard bytes.count - offset >= count else { break }
            parts.append(StreamPart(kind, count))
            offset += count
        }
        if isWaiting, offset < bytes.count {
            parts.append(StreamPart(.bytes, bytes.count - offset))
            offset = bytes.count
        }
        return offset
    }
}
