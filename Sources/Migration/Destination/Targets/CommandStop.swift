import CLinux
import Glibc

/// Wakes a thread that waits for a program, from any thread.
final class CommandStop: Sendable {
    /// Can be read once the program is to end.
    let descriptor: CInt
    private let trigger: CInt

    /// - Throws: `OperatorCommand.Failure` if there are no descriptors left.
    init() throws {
        var ends: [CInt] = [-1, -1]
        guard linux_pipe(&ends) == 0 else { throw OperatorCommand.Failure.cannotStart(errno) }
        (descriptor, trigger) = (ends[0], ends[1])
    }

    deinit {
        close(descriptor)
        close(trigger)
    }

    func request() { _ = write(trigger, [0], 1) }
}
