import NIOConcurrencyHelpers

/// The running migrations from a node.
final class MigrationRuns: Sendable {
    private struct State {
        var runs: [UInt64: MigrationRun] = [:]
        var next: UInt64 = 0
    }

    private let state = NIOLockedValueBox(State())

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

    private var all: [MigrationRun] { state.withLockedValue { Array($0.runs.values) } }
}
