import CLiburing
import Glibc

/// Wakes a loop from other threads through an eventfd that the ring reads.
final class Waker: RingHandler {
    private let descriptor: CInt
    private let operation: UnsafeMutablePointer<RingOperation>
    private let value: UnsafeMutablePointer<UInt64>
    private var wasSignalled = false

    init(descriptor: CInt) {
        self.descriptor = descriptor
        operation = .allocate(capacity: 1)
        value = .allocate(capacity: 1)
        super.init()
        operation.initialize(to: RingOperation(handler: self))
    }

    deinit {
        operation.deallocate()
        value.deallocate()
    }

    /// Wakes the loop. Any thread may call.
    func wake() {
        eventfd_write(descriptor, 1)
    }

    /// Reads the next signal; on the loop's thread.
    func arm(on loop: EventLoop) {
        loop.read(descriptor, into: value, count: 8, at: 0, operation)
    }

    /// Returns whether a signal has come since the last call; on the loop's thread.
    func consumeSignal() -> Bool {
        defer { wasSignalled = false }
        return wasSignalled
    }

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        wasSignalled = true
    }
}
