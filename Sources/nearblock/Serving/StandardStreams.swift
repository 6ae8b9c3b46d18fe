import Foundation

/// The one client of `serve --single`: whoever is at the other end of standard input and output.
enum StandardStreams {
    private static let bufferSize = 256 << 10

    /// A connected socket for that client. Standard input and output are nobody else's from then on.
    /// - Throws: `CommandFailure` where there is no client.
    static func takeSocket() throws -> CInt {
        let input = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
        let output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
        guard input >= 0, output >= 0, isatty(input) == 0 else {
            throw CommandFailure(reason: "--single serves the client on standard input and output, and none is there")
        }
        let nothing = open("/dev/null", O_RDWR | O_CLOEXEC)
        dup2(nothing, STDIN_FILENO)
        dup2(nothing, STDOUT_FILENO)
        close(nothing)
        if isSocket(input), isSocket(output) {
            close(output)
            return input
        }
        return try bridge(input, output)
    }

    private static func isSocket(_ descriptor: CInt) -> Bool {
        var info = stat()
        return fstat(descriptor, &info) == 0 && info.st_mode & S_IFMT == S_IFSOCK
    }

    /// Two pipes look like a socket through two threads that copy.
    private static func bridge(_ input: CInt, _ output: CInt) throws -> CInt {
        var pair: [CInt] = [0, 0]
        guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
            throw CommandFailure(reason: "cannot make a pair of sockets: \(String(cString: strerror(errno)))")
        }
        let far = pair[1]
        Thread.detachNewThread {
            copy(from: input, to: far)
            shutdown(far, CInt(SHUT_WR))
        }
        Thread.detachNewThread {
            copy(from: far, to: output)
            close(output)
        }
        return pair[0]
    }

    private static func copy(from source: CInt, to target: CInt) {
        var buffer = [UInt8](repeating: 0, count: bufferSize)
        while true {
            let count = read(source, &buffer, bufferSize)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            var done = 0
            while done < count {
                let written = buffer.withUnsafeBytes { write(target, $0.baseAddress! + done, count - done) }
                if written < 0 && errno == EINTR { continue }
                guard written > 0 else { return }
                done += written
            }
        }
    }
}
