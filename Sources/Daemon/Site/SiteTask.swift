import Foundation
import Index
import Logging
import NIOConcurrencyHelpers
import Site

/// Takes part in a site until it is cancelled, on threads of low priority. Its record does not wait for its long work.
struct SiteTask: Sendable {
    let member: SiteMember
    let logger: Logger

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await repeatedly { _ in member.renew() } }
            group.addTask { await repeatedly { isWanted in member.work(isWanted: isWanted) } }
        }
        await quietly { _ in member.leave() }
    }

    private func repeatedly(
        _ part: @escaping @Sendable (_ isWanted: @escaping @Sendable () -> Bool) -> SiteMember.Turn
    ) async {
        var earlier = SiteMember.Turn()
        while !Task.isCancelled {
            let turn = await quietly(part)
            log(turn, after: earlier)
            earlier = turn
            try? await Task.sleep(for: Heartbeats.interval)
        }
    }

    /// Logs what has changed: a store that is away must not fill the log.
    private func log(_ turn: SiteMember.Turn, after earlier: SiteMember.Turn) {
        for problem in turn.problems where !earlier.problems.contains(problem) { logger.warning("\(problem)") }
        if turn.problems.isEmpty, !earlier.problems.isEmpty { logger.info("the site is whole again") }
        if turn.published > 0 { logger.info("\(turn.published) tables of the index were published for the site") }
        if turn.merges, !earlier.merges { logger.debug("this host merges the catalogues of the site") }
        for host in turn.removed { logger.notice("the host '\(host)' is gone, and was removed from the site") }
    }

    /// Runs `body` on a thread of its own with low priority, and tells it when the task is cancelled.
    private func quietly<Result: Sendable>(
        _ body: @escaping @Sendable (_ isWanted: @escaping @Sendable () -> Bool) -> Result
    ) async -> Result {
        let isWanted = NIOLockedValueBox(true)
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                Thread.detachNewThread {
                    LowPriority.enter(.some)
                    continuation.resume(returning: body { isWanted.withLockedValue { $0 } })
                }
            }
        } onCancel: {
            isWanted.withLockedValue { $0 = false }
        }
    }
}
