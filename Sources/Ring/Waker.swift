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

    /// From any thread.
    func wake() {
        eventfd_write(descriptor, 1)
    }

    /// On the loop's thread: waits for the next signal.
    func arm(on loop: EventLoop) {
        loop.read(descriptor, into: value, count: 8, at: 0, operation)
    }

    /// On the loop's thread: whether a signal has come since the last call.
    func takeSignal() -> Bool {
        defer { wasSignalled = false }
        return wasSignalled
    }

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        wasSignalled = true
    }
}
