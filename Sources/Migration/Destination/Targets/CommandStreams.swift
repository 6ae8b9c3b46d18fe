import Glibc

/// Reads the output of a program until the program ends. A child that it leaves behind may keep its output open.
struct CommandStreams {
    /// The bytes of one stream, within a limit.
    struct Kept {
        fileprivate let descriptor: CInt
        fileprivate(set) var bytes: [UInt8] = []
        fileprivate var isOpen = true

        /// Reads what is there, without waiting; at most four times, since a program may never stop writing. A pipe that nobody
        /// writes to any more holds less than that.
        fileprivate mutating func readSome(_ keep: (inout [UInt8], ArraySlice<UInt8>) throws -> Void) rethrows {
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            for _ in 0..<4 where isOpen {
                let count = Glibc.read(descriptor, &buffer, buffer.count)
                if count < 0, errno == EINTR { continue }
                if count < 0, errno == EAGAIN { return }
                guard count > 0 else {
                    isOpen = false
                    return
                }
                try keep(&bytes, buffer[..<count])
            }
        }

        fileprivate var poll: pollfd { pollfd(fd: isOpen ? descriptor : -1, events: Int16(POLLIN), revents: 0) }
    }

    private(set) var output: Kept
    private(set) var errors: Kept
    private let process: CInt
    private let stop: CInt

    /// - Parameters:
    ///   - process: can be read once the program has ended, `pidfd_open(2)`.
    ///   - stop: can be read once nobody waits for the program any more.
    init(output: CInt, errors: CInt, process: CInt, stop: CInt) {
        for descriptor in [output, errors] { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
        self.output = Kept(descriptor: output)
        self.errors = Kept(descriptor: errors)
        self.process = process
        self.stop = stop
    }

    /// Reads until the program ends.
    /// - Throws: `OperatorCommand.Failure`.
    mutating func read(until deadline: ContinuousClock.Instant) throws {
        while true {
            var waits = [
                output.poll, errors.poll, pollfd(fd: process, events: Int16(POLLIN), revents: 0),
                pollfd(fd: stop, events: Int16(POLLIN), revents: 0),
            ]
            let left = ContinuousClock.now.duration(to: deadline).components
            let milliseconds = left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000
            guard milliseconds > 0 else { throw OperatorCommand.Failure.tooSlow }
            let ready = poll(&waits, nfds_t(waits.count), CInt(clamping: milliseconds))
            if ready < 0, errno != EINTR { throw OperatorCommand.Failure.cannotStart(errno) }
            guard ready > 0 else { continue }
            if waits[3].revents != 0 { throw OperatorCommand.Failure.cancelled }
            // Asked before the last bytes are read, which must not be missed.
            let hasEnded = waits[2].revents != 0
            try readSome()
            if hasEnded { return }
        }
    }

    private mutating func readSome() throws {
        try output.readSome { bytes, new in
            bytes += new
            guard bytes.count <= OperatorCommand.mostOutput else { throw OperatorCommand.Failure.tooMuchOutput }
        }
        errors.readSome { bytes, new in bytes = Array((bytes + new).suffix(OperatorCommand.mostErrors)) }
    }
}
