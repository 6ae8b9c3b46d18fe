import Daemon
import Logging
import Peer

/// Reads files and command line again and applies them, for SIGHUP and for commands, one after the other.
actor ConfigurationReload {
    private let node: Node
    private let started: NodeConfiguration
    private let logger: Logger
    private let reread: @Sendable () throws -> NodeConfiguration
    private var latest: Task<ReloadReport, any Error>?

    /// - Parameters:
    ///   - started: Configuration from files and command line at the start.
    ///   - reread: Reads files and command line again.
    init(
        node: Node, started: NodeConfiguration, logger: Logger,
        reread: @escaping @Sendable () throws -> NodeConfiguration
    ) {
        self.node = node
        self.started = started
        self.logger = logger
        self.reread = reread
    }

    /// Applies the configuration once every earlier reload has ended; logs the result.
    /// - Throws: The error for which the configuration stays as it was.
    func perform() async throws -> ReloadReport {
        let before = latest
        let task = Task {
            _ = await before?.result
            return try await apply()
        }
        latest = task
        return try await task.value
    }

    private func apply() async throws -> ReloadReport {
        ServiceManager.tellReloading()
        defer { ServiceManager.tell("READY=1") }
        do {
            let report = try await node.reload(reread(), started: started)
            logger.notice("the configuration was reloaded")
            return report
        } catch {
            logger.error("the configuration stays as it was: \(error.plainReason)")
            throw error
        }
    }
}
