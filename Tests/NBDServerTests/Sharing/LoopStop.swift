import Dispatch
import Ring

/// Stops a loop in the middle of a batch: after its completions and posted work, and before handlers hear of its end.
final class LoopStop: RingHandler, @unchecked Sendable {
    private let loop: EventLoop
    private let mustStop: @Sendable () -> Bool
    private let reached = DispatchSemaphore(value: 0)
    private let mayGoOn = DispatchSemaphore(value: 0)
    private var whileWaiting: LoopStop?

    /// Creates a stop for the first batch in which `mustStop`, which is asked on the loop's thread.
    init(_ loop: EventLoop, when mustStop: @escaping @Sendable () -> Bool) {
        self.loop = loop
        self.mustStop = mustStop
        super.init()
        // A loop does not retain the handlers of its turns.
        whileWaiting = self
        loop.post { self.loop.atNextTurn(self) }
    }

    /// Blocks until the loop has stopped.
    func waitUntilReached() { reached.wait() }

    /// Lets the loop go on, now or when it stops.
    func end() { mayGoOn.signal() }

    override func turnCame() {
        guard mustStop() else { return loop.atNextTurn(self) }
        reached.signal()
        mayGoOn.wait()
        whileWaiting = nil
    }
}
