import Foundation

/// Joins two descriptors to one socket, with two copying threads.
///
/// 1. The owner of `near` talks to the program behind the descriptors.
/// 2. After `near` is closed, remaining bytes are copied to the output, which is then closed.
/// 3. `finish` waits for that.
final class StreamBridge: Sendable {
    private static let bufferSize = 256 << 10

    /// Near end of the socket; its owner closes it.
    let near: CInt
    private let copying = DispatchGroup()

    /// - Throws: `CommandFailure`.
    init(from input: CInt, to output: CInt) throws {
        var pair: [CInt] = [0, 0]
        guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
            throw CommandFailure(reason: "cannot make a pair of sockets: \(String(cString: strerror(errno)))")
        }
        near = pair[0]
        let far = pair[1]
        Thread.detachNewThread {
            Self.copy(from: input, to: far)
            shutdown(far, CInt(SHUT_WR))
        }
        copying.enter()
        Thread.detachNewThread { [copying] in
            Self.copy(from: far, to: output)
            close(output)
            // After the output failed, let the server's writes fail too.
            shutdown(far, CInt(SHUT_RD))
            copying.leave()
        }
    }

    /// Waits until the output is closed.
    func finish() async {
        await withCheckedContinuation { continuation in
            copying.notify(queue: .global()) { continuation.resume() }
        }
    }

    /// Waits until the output is closed, or `limit` has passed.
    func finish(within limit: DispatchTimeInterval) async {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async { [copying] in
                _ = copying.wait(timeout: .now() + limit)
                continuation.resume()
            }
        }
    }

    private static func copy(from source: CInt, to target: CInt) {
        var buffer = [UInt8](repeating: 0, count: bufferSize)
        while true {
            let count = read(source, &buffer, bufferSize)
            if count < 0 && mayTryAgain(source, CShort(POLLIN)) { continue }
            guard count > 0 else { return }
            var done = 0
            while done < count {
                let written = buffer.withUnsafeBytes { write(target, $0.baseAddress! + done, count - done) }
                if written < 0 && mayTryAgain(target, CShort(POLLOUT)) { continue }
                guard written > 0 else { return }
                done += written
            }
        }
    }

    /// Returns whether to repeat a failed call; waits until the descriptor is ready. Another program may have made it
    /// non-blocking, and its mode must stay.
    private static func mayTryAgain(_ descriptor: CInt, _ events: CShort) -> Bool {
        switch errno {
        case EINTR:
            return true
        case EAGAIN:
            var watched = pollfd(fd: descriptor, events: events, revents: 0)
            return poll(&watched, 1, -1) == 1 || errno == EINTR
        default:
            return false
        }
    }
}
