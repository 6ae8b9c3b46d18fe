import NIOConcurrencyHelpers

/// The migrations away from a node that have not come to their ends.
final class MigrationRuns: Sendable {
    private struct State {
        var runs: [UInt64: MigrationRun] = [:]
        var next: UInt64 = 0
    }

    /// How often links are stopped that may have been made just now.
    private static let interval = Duration.milliseconds(20)

    private let state = NIOLockedValueBox(State())

    /// Follows a migration until its end.
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

    /// Cancels those that have not been handed over, and returns once both nodes know, or the time is over.
    func cancel(within limit: Duration) async {
        let cancelled = all.filter { $0.cancel() }
        let watch = Task {
            try await Task.sleep(for: limit)
            for run in cancelled { run.task.cancel() }
        }
        for run in cancelled { _ = await run.task.result }
        watch.cancel()
    }

    /// Returns once all have ended; those of disks that have been handed over wait for the destination no longer.
    func end() async {
        let runs = all
        let stopping = Task {
            while !Task.isCancelled {
                for export in runs.flatMap(\.exports) { export.stopForwarding() }
                try? await Task.sleep(for: Self.interval)
            }
        }
        for run in runs { _ = await run.task.result }
        stopping.cancel()
        await stopping.value
    }

    private var all: [MigrationRun] { state.withLockedValue { Array($0.runs.values) } }
}
