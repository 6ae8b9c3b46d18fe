import CStart
import Foundation

/// The one client of `serve --single`: whoever is at the other end of standard input and output.
struct StandardStreams: Sendable {
    /// Connected to that client.
    let socket: CInt
    private let bridge: StreamBridge?

    /// Takes the client over. Standard input and output are nobody else's from then on.
    /// - Throws: `CommandFailure` where there is no client.
    init() throws {
        let input = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
        let output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
        let isClosed = start_was_closed(STDIN_FILENO) != 0 || start_was_closed(STDOUT_FILENO) != 0
        guard !isClosed, input >= 0, output >= 0, isatty(input) == 0 else {
            throw CommandFailure(reason: "--single serves the client on standard input and output, and none is there")
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

    /// Returns once the client has been given all that was said to it, or has gone.
    func finish() async {
        await bridge?.finish()
    }

    /// As `finish()`, but not for ever: a client that reads nothing must not keep the process.
    func finishSoon() async {
        await bridge?.finish(within: .seconds(5))
    }

    private static func isSocket(_ descriptor: CInt) -> Bool {
        var info = stat()
        return fstat(descriptor, &info) == 0 && info.st_mode & S_IFMT == S_IFSOCK
    }

    /// Whether both are the same socket: some shells make pipes of two sockets, and one end of such takes no replies.
    private static func areOne(_ first: CInt, _ second: CInt) -> Bool {
        var one = stat()
        var other = stat()
        return fstat(first, &one) == 0 && fstat(second, &other) == 0
            && one.st_dev == other.st_dev && one.st_ino == other.st_ino
    }
}
