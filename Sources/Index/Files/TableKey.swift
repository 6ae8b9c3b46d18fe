/// Key of a table in a catalogue: the neighbour's file, and the generation of that file.
struct TableKey: Hashable, Sendable {
    static let byteCount = 32
    /// The 16 bytes that name the table's file.
    let file: [UInt8]
    let generation: Generation

    init(file: [UInt8], generation: Generation) {
        self.file = file
        self.generation = generation
    }

    /// Decodes a key from `byteCount` bytes.
    init(bytes: ArraySlice<UInt8>) {
        file = Array(bytes.prefix(16))
        generation = Generation(bytes: Array(bytes.suffix(Generation.byteCount)))
    }

    var bytes: [UInt8] { file + generation.bytes }
}
