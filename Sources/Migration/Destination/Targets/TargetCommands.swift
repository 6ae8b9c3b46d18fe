/// The operator's commands that make the places of arriving disks, and undo that.
public struct TargetCommands: Equatable, Sendable {
    /// The words of the command that makes a place; the first is an absolute path.
    public let prepare: [String]
    /// The words of the command that undoes it; nil if nothing is to be undone.
    public let release: [String]?

    /// - Parameters:
    ///   - prepare: one word or more.
    ///   - release: one word or more; nil for no command.
    public init(prepare: [String], release: [String]?) {
        precondition(!prepare.isEmpty && release?.isEmpty != true, "a command has a first word")
        self.prepare = prepare
        self.release = release
    }
}
