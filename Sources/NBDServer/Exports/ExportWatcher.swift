/// Detects whether the image behind an export has changed.
public protocol ExportWatcher: Sendable {
    /// Examines the image and updates the export, so that new clients get what is there now. Must not block.
    /// - Parameter done: called once on any thread, with the reason, for clients, why they can't have the export; nil
    ///   if they can.
    func look(then done: @escaping @Sendable (String?) -> Void)
}
