import Glibc
import Ring

/// What a client has sent and nobody has parsed yet: in a buffer borrowed from the loop while it is being parsed, and
/// what then is left in memory of its own.
///
/// 1. `borrow`, or receive into `room` and call `didReceive`. Until then the memory stays in place.
/// 2. Parse at `bytes` and `drop`.
/// 3. `keepRest` gives what was borrowed back.
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

    deinit {
        precondition(borrowed < 0)
        free(own)
    }

    var count: Int { end - start }

    var isEmpty: Bool { start == end }

    /// The first byte; only where there is one.
    var bytes: UnsafeMutableRawPointer { base! + start }

    func drop(_ count: Int) {
        start += count
        assert(start <= end)
    }

    /// Takes over what has been received into a buffer of the loop's; nothing else may be there.
    func borrow(_ number: Int, count: Int) {
        precondition(isEmpty && borrowed < 0)
        borrowed = number
        base = buffers.bytes(of: number)
        start = 0
        end = count
    }

    /// Gives a borrowed buffer back.
    func keepRest() {
        guard borrowed >= 0 else { return }
        let number = borrowed
        borrowed = -1
        if isEmpty { base = nil } else { copy(UnsafeRawBufferPointer(start: bytes, count: count)) }
        buffers.give(number)
    }

    /// Makes room at the end; to be called while nothing is being received.
    func prepare() {
        guard isEmpty else { return }
        start = 0
        end = 0
        // An idle connection keeps no more than it usually needs.
        guard capacity > ServerLimits.input else { return }
        free(own)
        own = nil
        capacity = 0
    }

    /// Puts bytes in; nothing else may be there.
    func keep(_ bytes: [UInt8]) {
        precondition(isEmpty && borrowed < 0)
        bytes.withUnsafeBytes { copy($0) }
    }

    /// Where more can be received behind what is there; nil where it is full.
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
