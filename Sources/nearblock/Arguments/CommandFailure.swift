/// A command failed, for a reason that is one line already.
struct CommandFailure: Error, CustomStringConvertible {
    let reason: String

    var description: String { reason }
}
