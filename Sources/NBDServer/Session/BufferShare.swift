/// Divides a loop's request buffers by the bytes that a connection then holds. Connections that hold much leave room to
/// those that hold little. A client that does not read its replies thus delays no small requests of others.
enum BufferShare {
    /// Bytes that a connection may hold with a buffer of the first share.
    static let little = 64 << 10
    /// Bytes that a connection may hold with a buffer of the second share.
    static let some = 1 << 20

    /// Bytes of each share. The first is enough for 512 connections, the second for 32, the third for two.
    static let limits = [
        ServerLimits.buffersPerLoop / 4, ServerLimits.buffersPerLoop / 4, ServerLimits.buffersPerLoop / 2,
    ]

    /// The first share that a connection may use if it holds `bytes` with the new buffer.
    static func first(holding bytes: Int) -> Int {
        bytes <= little ? 0 : bytes <= some ? 1 : 2
    }
}
