/// Knows whether what is behind an export has changed.
public protocol ExportWatcher: Sendable {
    /// Looks, and sees to it that new clients get what is there now. Must not block.
    /// - Parameter done: called on any thread; given why new clients can't have the export, for them to read, and nil where
    ///   they can.
    func look(then done: @escaping @Sendable (String?) -> Void)
}
