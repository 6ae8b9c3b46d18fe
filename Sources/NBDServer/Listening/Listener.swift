import Glibc
import Ring

/// Accepts connections on one socket, on one loop, and hands them on.
final class Listener: RingHandler, @unchecked Sendable {
    private static let pause = 1

    private let socket: CInt
    private let loop: EventLoop
    private let operation: UnsafeMutablePointer<RingOperation>
    private let timer: LoopTimer
    private let deliver: (CInt) -> Void
    private var whenClosed: (() -> Void)?

    /// Takes over a socket that listens; connections wait until `begin`.
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

    /// Accepts no more; `done` is called when the socket is out of use.
    func end(done: @escaping () -> Void) {
        whenClosed = done
        loop.cancel(operation)
    }

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        if result >= 0 { deliver(result) }
        if let whenClosed { return whenClosed() }
        // A client that has gone before it was accepted says nothing about the next.
        let isListenersFault = result < 0 && ![-ECONNABORTED, -EINTR, -EAGAIN, -EPROTO].contains(result)
        if isListenersFault {
            // Out of descriptors or memory: trying again at once would spin. Clients that leave free some.
            timer.arm(seconds: Self.pause) { [self] in
                if let whenClosed { whenClosed() } else { begin() }
            }
        } else {
            begin()
        }
    }
}
