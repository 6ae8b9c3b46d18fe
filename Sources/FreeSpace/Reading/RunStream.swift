/// The helper's answer to the node: runs of bytes as pairs of little-endian numbers. The pair (0, number of runs) ends it, so
/// that an answer that was cut is not taken for a whole one.
enum RunStream {
    /// Bytes of a pair.
    static let pairBytes = 16

    /// The bytes of one pair.
    static func bytes(_ first: UInt64, _ second: UInt64) -> [UInt8] {
        [first, second].flatMap { number in (0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) } }
    }

    /// The bytes of a run. One that begins at 0 loses its first byte: that is the end's mark.
    static func bytes(of run: ByteRun) -> [UInt8] {
        run.start == 0 ? bytes(1, run.length - min(1, run.length)) : bytes(run.start, run.length)
    }

    /// Takes the stream apart as it comes.
    struct Parser {
        private var rest: [UInt8] = []
        private var count: UInt64 = 0
        /// The end has come, and agrees with what went before.
        private(set) var isWhole = false

        /// Takes further bytes, and calls `found` with each run.
        /// - Throws: `FreeSpaceError.malformed` if the bytes are no such stream.
        mutating func take(_ bytes: some Sequence<UInt8>, _ found: (ByteRun) throws -> Void) throws {
            rest += bytes
            var place = 0
            while rest.count - place >= pairBytes {
                guard !isWhole else { throw FreeSpaceError.malformed }
                let (first, second) = (number(at: place), number(at: place + 8))
                place += pairBytes
                if first == 0 {
                    guard second == count else { throw FreeSpaceError.malformed }
                    isWhole = true
                } else {
                    count += 1
                    try found(ByteRun(start: first, length: second))
                }
            }
            rest.removeFirst(place)
        }

        private func number(at place: Int) -> UInt64 {
            rest[place..<place + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
    }
}
