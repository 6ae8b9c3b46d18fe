/// The part of a loop's request buffers that a connection takes one from, by what it then holds: connections that hold much
/// leave room to those that hold little, so that clients which ask and don't read delay nobody else's small requests.
enum BufferShare {
    /// Bytes that a connection holds at most with a buffer of the first share.
    static let little = 64 << 10
    /// Bytes that a connection holds at most with a buffer of the second.
    static let some = 1 << 20

    /// Bytes of each share. The first is enough for 512 connections, the second for 32, the third for two.
    static let limits = [
        ServerLimits.buffersPerLoop / 4, ServerLimits.buffersPerLoop / 4, ServerLimits.buffersPerLoop / 2,
    ]

    /// The first share from which a connection may take that then holds so many bytes.
    static func first(holding bytes: Int) -> Int {
        bytes <= little ? 0 : bytes <= some ? 1 : 2
    }
}
