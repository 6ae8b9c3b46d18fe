/// Error of a command, with a message in one line.
struct CommandFailure: Error, CustomStringConvertible {
    let reason: String

    var description: String { reason }
}
