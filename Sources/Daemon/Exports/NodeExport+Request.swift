import Logging

/// The record of a migrate command, with which a restarted node resumes the migration.
extension NodeExport {
    private static let firstRetry = Duration.milliseconds(100)
    private static let longestRetry = Duration.seconds(5)

    /// Deletes the record of the command durably. After a failure a task retries until it succeeds, but never while
    /// another migration of the export runs.
    /// - Returns: The error of the first try, after which a restarted node may still resume the migration; nil if the
    ///   record is gone.
    @discardableResult
    func forgetRequest(_ logger: Logger) -> (any Error)? {
        guard let records else { return nil }
        do {
            try records.forgetRequest()
            return nil
        } catch {
            logger.error(
                "\(name): the record of an ended migration can't be deleted, and a restarted node would resume it: \(error)"
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
        // A new command is recorded only after its migration has claimed the export, under this lock.
        whileUnclaimed { (try? records?.forgetRequest()) != nil || records == nil } ?? false
    }
}
