import Glibc
import Ring

/// Received bytes that are not parsed yet. While they are parsed they are in a buffer borrowed from the loop. Bytes
/// that are left then move to memory of the connection.
///
/// 1. `borrow` a loop's buffer, or receive into `room` and call `didReceive`. Until then the memory stays in place.
/// 2. Parse at `bytes` and `drop`.
/// 3. `keepRest` returns the borrowed buffer.
/// 4. `prepare` for the next receive.
final class SessionInput {
    private let buffers: ReceiveBuffers
    private var borrowed = -1
    private var own: UnsafeMutableRawPointer?
    private var capacity = 0
    private var start = 0
    private var end = 0
    private var base: UnsafeMutableRawPointer?

    init(buffers: ReceiveBuffers) {
        self.buffers = buffers
    }

    /// Returns the input of the same connection on another loop; no buffer may be borrowed, and this one is used up.
    func moved(to buffers: ReceiveBuffers) -> SessionInput {
        precondition(borrowed < 0)
        let other = SessionInput(buffers: buffers)
        (other.own, other.base, other.capacity, other.start, other.end) = (own, base, capacity, start, end)
        own = nil
        return other
    }

    deinit {
        precondition(borrowed < 0)
        free(own)
    }

    var count: Int { end - start }

    var isEmpty: Bool { start == end }

    /// The address of the first byte; the input must not be empty.
    var bytes: UnsafeMutableRawPointer { base! + start }

    func drop(_ count: Int) {
        start += count
        assert(start <= end)
    }

    /// Takes over a loop's buffer with received bytes; the input must be empty.
    func borrow(_ number: Int, count: Int) {
        precondition(isEmpty && borrowed < 0)
        borrowed = number
        base = buffers.bytes(of: number)
        start = 0
        end = count
    }

    /// Returns the borrowed buffer, and copies the bytes that are left.
    func keepRest() {
        guard borrowed >= 0 else { return }
        let number = borrowed
        borrowed = -1
        if isEmpty { base = nil } else { copy(UnsafeRawBufferPointer(start: bytes, count: count)) }
        buffers.give(number)
    }

    /// Frees memory beyond the usual if the input is empty; no receive may be in flight.
    func prepare() {
        guard isEmpty else { return }
        start = 0
        end = 0
        // An idle connection keeps no more memory than usual.
        guard capacity > ServerLimits.input else { return }
        free(own)
        own = nil
        capacity = 0
    }

    /// Copies bytes into the input, which must be empty.
    func keep(_ bytes: [UInt8]) {
        precondition(isEmpty && borrowed < 0)
        bytes.withUnsafeBytes { copy($0) }
    }

    /// The room behind the bytes that are there; nil if the memory is full.
    var room: UnsafeMutableRawBufferPointer? {
        precondition(borrowed < 0)
        if start > 0, let own {
            memmove(own, own + start, count)
            end -= start
            start = 0
        }
        reserve(ServerLimits.input)
        return end == capacity ? nil : UnsafeMutableRawBufferPointer(start: own! + end, count: capacity - end)
    }

    func didReceive(_ count: Int) {
        end += count
        assert(end <= capacity)
    }

    private func copy(_ bytes: UnsafeRawBufferPointer) {
        start = 0
        end = 0
        reserve(bytes.count)
        if let source = bytes.baseAddress { own!.copyMemory(from: source, byteCount: bytes.count) }
        end = bytes.count
    }

    private func reserve(_ count: Int) {
        let wanted = max(count, ServerLimits.input)
        if capacity < wanted {
            own = realloc(own, wanted)!
            capacity = wanted
        }
        base = own
    }
}
