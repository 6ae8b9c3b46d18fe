import Glibc
import Ring

/// Accepts connections on one socket, on one loop, and hands them on.
final class Listener: RingHandler, @unchecked Sendable {
    let address: ListenAddress
    private let socket: CInt
    private let loop: EventLoop
    private let operation: UnsafeMutablePointer<RingOperation>
    private let deliver: (CInt) -> Void
    private var whenClosed: (() -> Void)?

    /// Listens at once; connections wait until `begin`.
    init(address: ListenAddress, loop: EventLoop, deliver: @escaping (CInt) -> Void) throws {
        (socket, self.address) = try ListeningSocket.open(address)
        self.loop = loop
        self.deliver = deliver
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
        if case .unix(let path) = address { unlink(path) }
        loop.cancel(operation)
    }

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        if result >= 0 { deliver(result) }
        if let whenClosed { return whenClosed() }
        if result == -EMFILE || result == -ENFILE {
            // Out of descriptors: trying again at once would spin. The next close frees one.
            usleep(10_000)
        }
        loop.accept(socket, operation)
    }
}
