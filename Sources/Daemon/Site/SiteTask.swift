import Index
import Logging
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
        await InterruptibleThread.run(.some) { _ in member.leave() }
    }

    private func repeatedly(
        _ part: @escaping @Sendable (_ isWanted: @escaping @Sendable () -> Bool) -> SiteMember.Turn
    ) async {
        var earlier = SiteMember.Turn()
        while !Task.isCancelled {
            let turn = await InterruptibleThread.run(.some, part)
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
        for table in turn.mended { logger.warning("\(table) was damaged in the store, and is published again") }
        if turn.merges, !earlier.merges { logger.debug("this host merges the catalogues of the site") }
        for host in turn.removed { logger.notice("the host '\(host)' is gone, and was removed from the site") }
    }
}
