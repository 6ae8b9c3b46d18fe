import Logging

/// What is remembered of a command, so that a node that is started again goes on with it.
extension NodeExport {
    private static let firstRetry = Duration.milliseconds(100)
    private static let longestRetry = Duration.seconds(5)

    /// Forgets, durably, what was asked for. Where that fails it is tried again until it succeeds, while no other migration
    /// of the export runs.
    /// - Returns: why a later life of the node may still go on with it; nil where it won't.
    @discardableResult
    func forgetRequest(_ logger: Logger) -> (any Error)? {
        guard let records else { return nil }
        do {
            try records.forgetRequest()
            return nil
        } catch {
            logger.error(
                "\(name): the note of a migration that has ended can't be removed, and a node that is started again would go on with it: \(error)"
            )
            Task { [weak self] in
                var pause = Self.firstRetry
                while let self, !hasForgotten() {
                    try? await Task.sleep(for: pause)
                    pause = min(pause * 2, Self.longestRetry)
                }
            }
            return error
        }
    }

    private func hasForgotten() -> Bool {
        // Under the lock under which an export is claimed: a new command is kept only after that.
        whileUnclaimed { (try? records?.forgetRequest()) != nil || records == nil } ?? false
    }
}
