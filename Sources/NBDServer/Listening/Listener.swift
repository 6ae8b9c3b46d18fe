import Glibc
import Ring

/// Accepts the connections of one socket on one loop, and delivers their descriptors.
final class Listener: RingHandler, @unchecked Sendable {
    private static let pause = 1

    private let socket: CInt
    private let loop: EventLoop
    private let operation: UnsafeMutablePointer<RingOperation>
    private let timer: LoopTimer
    private let deliver: (CInt) -> Void
    private var whenClosed: (() -> Void)?

    /// Takes over a listening socket; connections wait until `begin`.
    init(socket: CInt, loop: EventLoop, deliver: @escaping (CInt) -> Void) {
        self.socket = socket
        self.loop = loop
        self.deliver = deliver
        timer = LoopTimer(loop: loop)
        operation = .allocate(capacity: 1)
        super.init()
        operation.initialize(to: RingOperation(handler: self))
    }

    deinit {
        close(socket)
        operation.deallocate()
    }

    func begin() {
        loop.accept(socket, operation)
    }

    /// Stops accepting; `done` is called when the socket is no longer in use.
    func end(done: @escaping () -> Void) {
        whenClosed = done
        loop.cancel(operation)
    }

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        if result >= 0 { deliver(result) }
        if let whenClosed { return whenClosed() }
        // A client that left before it was accepted says nothing about the next one.
        let isListenersFault = result < 0 && ![-ECONNABORTED, -EINTR, -EAGAIN, -EPROTO].contains(result)
        if isListenersFault {
            // The process lacks descriptors or memory; an immediate retry would spin, and clients that leave free
            // some.
            timer.arm(seconds: Self.pause) { [self] in
                if let whenClosed { whenClosed() } else { begin() }
            }
        } else {
            begin()
        }
    }
}
