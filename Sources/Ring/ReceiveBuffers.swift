import CLiburing
import Glibc

/// Buffers of one loop, of which the kernel takes one when bytes arrive: a connection that waits holds none.
/// io_uring_register_buf_ring(3).
///
/// `EventLoop.receiveSelected` completes with the buffer's number in its operation; the receiver gives the buffer back
/// before it receives again. If all are in use, the receive ends with `ENOBUFS` and must be repeated. A receive that does not
/// poll first needs a free buffer at once, also if there are no bytes.
public final class ReceiveBuffers {
    /// Bytes of each buffer.
    public static let length = 64 << 10
    static let group: CInt = 0
    private static let count = 16
    private static let ringLength = 4096
    /// Receives that poll first after the buffers have run out: some for each of many connections.
    private static let scarceReceives = 256

    private let ring: UnsafeMutableRawPointer
    private let memory: UnsafeMutableRawPointer
    private var scarce = 0

    /// - Throws: `RingError` if there is no memory.
    init() throws {
        guard let ring = PageMemory.allocate(Self.ringLength) else { throw RingError(code: ENOMEM) }
        guard let memory = PageMemory.allocate(Self.count * Self.length) else {
            PageMemory.free(ring, Self.ringLength)
            throw RingError(code: ENOMEM)
        }
        self.ring = ring
        self.memory = memory
    }

    deinit {
        PageMemory.free(ring, Self.ringLength)
        PageMemory.free(memory, Self.count * Self.length)
    }

    /// - Returns: 0 or an `errno`.
    func register(with uring: UnsafeMutablePointer<io_uring>) -> CInt {
        memset(ring, 0, Self.ringLength)
        let result = uring_register_buffers(uring, ring, UInt32(Self.count), Self.group)
        guard result == 0 else { return -result }
        for number in 0..<Self.count { give(number) }
        return 0
    }

    /// Records that a receive has ended with `ENOBUFS`.
    public func ranOut() { scarce = Self.scarceReceives }

    /// Whether the next receive should poll first, as the buffers have run out lately. Receives that try at once would take all
    /// of them again before the others.
    public func areScarce() -> Bool {
        guard scarce > 0 else { return false }
        scarce -= 1
        return true
    }

    /// The memory of the buffer that a completion named.
    public func bytes(of number: Int) -> UnsafeMutableRawPointer {
        precondition((0..<Self.count).contains(number))
        return memory + number * Self.length
    }

    /// Returns a buffer to the kernel for the next receive.
    public func give(_ number: Int) {
        uring_give_buffer(ring, bytes(of: number), UInt32(Self.length), CInt(number), UInt32(Self.count))
    }
}
