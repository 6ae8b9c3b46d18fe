import CStart
import Foundation

/// The client of `serve --single`, on standard input and output.
struct StandardStreams: Sendable {
    /// Socket that is connected to the client.
    let socket: CInt
    private let bridge: StreamBridge?

    /// Takes over standard input and output, and replaces them by /dev/null.
    /// - Throws: `CommandFailure` if there is no client.
    init() throws {
        let input = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
        let output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
        let isClosed = start_was_closed(STDIN_FILENO) != 0 || start_was_closed(STDOUT_FILENO) != 0
        guard !isClosed, input >= 0, output >= 0, isatty(input) == 0 else {
            throw CommandFailure(reason: "--single needs a client on standard input and output, and there is none")
        }
        let nothing = open("/dev/null", O_RDWR | O_CLOEXEC)
        dup2(nothing, STDIN_FILENO)
        dup2(nothing, STDOUT_FILENO)
        close(nothing)
        if Self.isSocket(input), Self.areOne(input, output) {
            close(output)
            socket = input
            bridge = nil
        } else {
            let bridge = try StreamBridge(from: input, to: output)
            socket = bridge.near
            self.bridge = bridge
        }
    }

    /// Waits until the client has received everything or has disconnected.
    func finish() async {
        await bridge?.finish()
    }

    /// Waits as `finish()` does, but at most 5 s: a client that does not read must not keep the process alive.
    func finishSoon() async {
        await bridge?.finish(within: .seconds(5))
    }

    private static func isSocket(_ descriptor: CInt) -> Bool {
        var info = stat()
        return fstat(descriptor, &info) == 0 && info.st_mode & S_IFMT == S_IFSOCK
    }

    /// Returns whether both are the same socket. Some shells build pipes from socket pairs, whose ends can't both read
    /// and write.
    private static func areOne(_ first: CInt, _ second: CInt) -> Bool {
        var one = stat()
        var other = stat()
        return fstat(first, &one) == 0 && fstat(second, &other) == 0
            && one.st_dev == other.st_dev && one.st_ino == other.st_ino
    }
}
