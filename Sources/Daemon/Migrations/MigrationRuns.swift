import Migration

/// The running migrations from a node.
final class MigrationRuns: Sendable {
    private struct State {
        var runs: [UInt64: MigrationRun] = [:]
        var next: UInt64 = 0
    }

    private let state = WatchedValue(State())

    /// Adds a migration; removes it when it ends.
    func add(_ run: MigrationRun) {
        let number = state.withLockedValue { state in
            state.next += 1
            state.runs[state.next] = run
            return state.next
        }
        Task { [self] in
            _ = await run.task.result
            state.withLockedValue { $0.runs[number] = nil }
        }
    }

    /// Ends migrations before their switchover. Returns once both nodes know, or after the time limit.
    /// - Parameters:
    ///   - keeping: Whether the next start of the node goes on with them; otherwise they are cancelled.
    ///   - node: Its actor replaces a failed attempt by the next one; a cancel must not come in between.
    func end(keeping: Bool, within limit: Duration, on node: isolated Node) async {
        let ended = all.filter { keeping ? $0.suspend() : $0.cancel() }
        let watch = Task {
            try await Task.sleep(for: limit)
            for run in ended { run.task.cancel() }
        }
        for run in ended { _ = await run.task.result }
        watch.cancel()
    }

    /// Waits until all migrations have ended. Those after their switchover stop waiting for the destination.
    func end() async {
        let runs = all
        for export in runs.flatMap(\.exports) { export.stopForwarding() }
        for run in runs { run.memory?.cancel() }
        for run in runs { _ = await run.task.result }
    }

    /// The migrations that run now, in the order of their starts.
    var running: [(number: UInt64, run: MigrationRun)] {
        state.withLockedValue { $0.runs.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }
    }

    /// The migration of an export; nil if none runs.
    func running(_ export: NodeExport) -> (number: UInt64, run: MigrationRun)? {
        running.first { $0.run.exports.contains { $0 === export } }
    }

    /// Waits until a migration has ended.
    /// - Throws: `CancellationError`.
    func waitUntilEnded(_ number: UInt64) async throws {
        try await state.waitUnlessCancelled { $0.runs[number] == nil }
    }

    private var all: [MigrationRun] { state.withLockedValue { Array($0.runs.values) } }
}
