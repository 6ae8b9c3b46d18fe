import NIOCore
import TLS

/// Moves bytes between NIO's buffers and the channel's; no pointer outlives a call.
extension TLSChannel {
    /// Reading begins with less room than this only where more is allocated. Bytes.
    private static let leastRoom = 4 << 10

    /// Copies as much ciphertext as the channel has room for, and consumes it.
    /// - Returns: the number of bytes.
    func receive(_ ciphertext: inout ByteBuffer) -> Int {
        var total = 0
        while ciphertext.readableBytes > 0 {
            // The room may lie in two pieces.
            let room = roomForInput()
            guard room.count > 0 else { break }
            let count = ciphertext.readWithUnsafeReadableBytes { source in
                let count = min(room.count, source.count)
                room.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<count]))
                return (count, count)
            }
            didReceive(count)
            total += count
        }
        return total
    }

    /// Appends all ciphertext that waits to be sent.
    /// - Returns: whether there was any.
    func takeOutput(into ciphertext: inout ByteBuffer) -> Bool {
        var hasAny = false
        while true {
            let part = output
            guard part.count > 0 else { return hasAny }
            ciphertext.writeBytes(part)
            didSend(part.count)
            hasAny = true
        }
    }

    /// Decrypts at most a record, and appends it.
    func read(into plaintext: inout ByteBuffer) -> TLSOutcome {
        var outcome = TLSOutcome.needsInput
        plaintext.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.leastRoom) { room in
            // There is room, and so there is memory.
            outcome = read(into: room.baseAddress!, count: room.count)
            if case .done(let count) = outcome { return count }
            return 0
        }
        return outcome
    }

    /// Encrypts at most a record of what is readable, and consumes it.
    /// - Parameter plaintext: at least one byte.
    func write(from plaintext: inout ByteBuffer) -> TLSOutcome {
        plaintext.readWithUnsafeReadableBytes { source in
            let outcome = write(from: source.baseAddress!, count: source.count)
            if case .done(let count) = outcome { return (count, outcome) }
            return (0, outcome)
        }
    }
}
