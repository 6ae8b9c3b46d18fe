import Dispatch
import Glibc

/// The socket of a connection of which this process has ended its half. The server may still work on what it has received, and
/// ends its own half afterwards. The socket does not block.
final class ClosingSocket: Sendable {
    private let descriptor: CInt

    /// Keeps a socket open whose descriptor is about to be closed; nil if there are too many descriptors.
    init?(_ socket: CInt) {
        descriptor = fcntl(socket, F_DUPFD_CLOEXEC, 0)
        guard descriptor >= 0 else { return nil }
    }

    deinit { close(descriptor) }

    /// Waits until the server has ended its half, at most `seconds`. Blocks the thread.
    func waitForEnd(seconds: Int) {
        let end = DispatchTime.now() + .seconds(seconds)
        withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 1) { answers in
            while DispatchTime.now() < end {
                let left = (end.uptimeNanoseconds - min(DispatchTime.now(), end).uptimeNanoseconds) / 1_000_000 + 1
                var events = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                guard poll(&events, 1, CInt(left)) > 0 else { continue }
                let count = recv(descriptor, answers.baseAddress, answers.count, 0)
                // A connection that was reset has ended, too.
                if count == 0 || count < 0 && errno != EAGAIN && errno != EINTR { return }
            }
        }
    }
}
