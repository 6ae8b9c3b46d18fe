import CLiburing

/// A one-shot timer that calls back on its loop's thread; it may then be armed again.
public final class LoopTimer: RingHandler {
    private unowned let loop: EventLoop
    private let operation: UnsafeMutablePointer<RingOperation>
    private let time: UnsafeMutablePointer<__kernel_timespec>
    private var fire: (() -> Void)?

    /// Creates a timer of `loop` that is not armed.
    public init(loop: EventLoop) {
        self.loop = loop
        operation = .allocate(capacity: 1)
        time = .allocate(capacity: 1)
        super.init()
        operation.initialize(to: RingOperation(handler: self))
    }

    deinit {
        operation.deallocate()
        time.deallocate()
    }

    /// Whether a call is pending.
    public var isArmed: Bool { fire != nil }

    /// Calls `fire` after `seconds`; the timer must not be armed.
    public func arm(seconds: Int, fire: @escaping () -> Void) { arm(milliseconds: seconds * 1000, fire: fire) }

    /// Calls `fire` after `milliseconds`; the timer must not be armed.
    public func arm(milliseconds: Int, fire: @escaping () -> Void) {
        precondition(self.fire == nil, "the timer is armed already")
        self.fire = fire
        time.initialize(
            to: __kernel_timespec(tv_sec: Int64(milliseconds / 1000), tv_nsec: Int64(milliseconds % 1000) * 1_000_000))
        loop.timeout(after: time, operation)
    }

    override public func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        let fire = fire
        self.fire = nil
        fire?()
    }
}
