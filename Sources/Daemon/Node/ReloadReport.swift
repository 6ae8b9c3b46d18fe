/// The result of reading a node's configuration again.
public struct ReloadReport: Codable, Equatable, Sendable {
    /// Changes that were made, and those that take effect only after a restart; one line each.
    public internal(set) var notes: [String] = []
    /// Exports that can't be served, and certificates that are refused; one line each.
    public internal(set) var problems: [String] = []

    init() {}
}
