import MigrationProtocol

/// The parameters of the compressed stream of a guest's memory, on which both nodes agree.
enum MemoryStreamParameters {
    /// The distance of references, as a power of two: 8 MiB. Each node holds that much for a connection.
    static let windowLog: Int32 = 23
    /// Pages that are kept to be referred to. They take 256 MiB of a scratch file at the destination, and some 4 MiB of memory
    /// at the source.
    static let history = 1 << 16
}
