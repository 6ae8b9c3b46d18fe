import Hashing
import MigrationProtocol

/// Bytes that both ends of a data stream have, and to which its frames refer as if they stood before.
///
/// `@unchecked Sendable`: nothing changes the bytes once it is made.
final class StreamPrefix: @unchecked Sendable {
    private let buffer: BlockBuffer
    /// The part of a node's memory that it takes; nil if none is counted.
    private let room: PrefixRoom.Part?
    let bytes: UnsafeRawBufferPointer

    /// - Parameters:
    ///   - buffer: filled up to `byteCount`, and used by nobody else from now on.
    ///   - room: given back with the last use.
    init(_ buffer: BlockBuffer, byteCount: Int, room: PrefixRoom.Part? = nil) {
        self.buffer = buffer
        self.room = room
        bytes = UnsafeRawBufferPointer(buffer.prefix(byteCount))
    }

    /// Both sides compare it: what is different on one of them is no prefix.
    func digest(_ hasher: BlockHasher) -> Fingerprint { hasher.fingerprint(bytes) }
}
