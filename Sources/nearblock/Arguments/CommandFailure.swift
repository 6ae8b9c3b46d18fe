/// Error of a command, with a message in one line.
struct CommandFailure: Error, CustomStringConvertible {
    let reason: String
    /// Exit status of the process.
    var status = ExitStatus.failed

    var description: String { reason }
}
