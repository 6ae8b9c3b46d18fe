/// What a catalogue calls a table: which neighbour's, and which writing of it.
struct TableKey: Hashable, Sendable {
    static let byteCount = 32
    /// As in the name of the table's file, 16 bytes.
    let file: [UInt8]
    let generation: Generation

    init(file: [UInt8], generation: Generation) {
        self.file = file
        self.generation = generation
    }

    /// From its `byteCount` bytes.
    init(bytes: ArraySlice<UInt8>) {
        file = Array(bytes.prefix(16))
        generation = Generation(bytes: Array(bytes.suffix(Generation.byteCount)))
    }

    var bytes: [UInt8] { file + generation.bytes }
}
