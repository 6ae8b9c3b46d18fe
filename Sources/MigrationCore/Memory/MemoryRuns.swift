import MigrationProtocol

/// The runs of a batch at the destination, read from its tokens whenever they are needed. A hostile batch has one for each
/// byte, and an array of them would take fifty times its size.
struct MemoryRuns: Sendable {
    let tokens: [UInt8]
    private let literalBytes: Int
    private let bounds: MemoryTokenReader.Bounds
    /// The reader before the batch.
    private let start: MemoryTokenReader
    /// Bytes of the stream.
    private(set) var byteCount = 0

    /// Checks the tokens of the next batch.
    /// - Parameters:
    ///   - literalBytes: the bytes beside the tokens.
    ///   - reader: goes on behind the batch.
    /// - Throws: `MigrationError.unexpected`.
    init(
        _ tokens: UnsafeRawBufferPointer, literalBytes: Int, bounds: MemoryTokenReader.Bounds,
        _ reader: inout MemoryTokenReader
    ) throws {
        self.tokens = Array(tokens)
        self.literalBytes = literalBytes
        self.bounds = bounds
        start = reader
        var byteCount = 0
        try reader.read(
            tokens, literalBytes: literalBytes, bounds: bounds, maximumBytes: MemoryBatch.maximumBytes
        ) { byteCount += $0.byteCount }
        self.byteCount = byteCount
    }

    /// Calls `body` with each run, in their order.
    func forEach(_ body: (MemoryRun) -> Void) {
        var reader = start
        do {
            try tokens.withUnsafeBytes {
                try reader.read($0, literalBytes: literalBytes, bounds: bounds, maximumBytes: byteCount, body)
            }
        } catch {
            preconditionFailure("tokens that were read once are in order")
        }
    }
}
