import Block
import BlockModel
import Foundation
import NBDServer
import NIOPosix

/// Makes what the page shows, once for all who watch. Costs nothing while nobody does.
actor BlockMapFeed {
    /// Exports on the page, at most: those that move come first.
    private static let exports = 64
    /// A little less than the interval of the viewers, so that they share one look.
    private static let keptFor = Duration.milliseconds(900)
    private static let allocationKeptFor = Duration.seconds(15)

    private weak var node: Node?
    private let tallies: TallyBook
    private let pool: NIOThreadPool
    private let host = ProcessInfo.processInfo.hostName
    private var latest: (event: PageEvent, time: ContinuousClock.Instant)?
    /// The look that is under way, for which all viewers wait.
    private var look: Task<PageEvent?, Never>?
    private var allocations: [String: (picture: BlockPicture?, time: ContinuousClock.Instant)] = [:]

    /// - Parameter pool: Asks for the holes of images.
    init(node: Node, tallies: TallyBook, pool: NIOThreadPool) {
        self.node = node
        self.tallies = tallies
        self.pool = pool
    }

    /// Returns the state of the node now, or that of a moment ago; nil once the node is gone.
    func event() async -> PageEvent? {
        if let latest, latest.time.duration(to: .now) < Self.keptFor { return latest.event }
        if let look { return await look.value }
        let task = Task { await lookAgain() }
        look = task
        let event = await task.value
        look = nil
        return event
    }

    private func lookAgain() async -> PageEvent? {
        guard let node else { return nil }
        let seen = await node.observe()
        let shown = seen.statuses.sorted {
            ($0.progress != nil ? 0 : 1, $0.export) < ($1.progress != nil ? 0 : 1, $1.export)
        }
        .prefix(Self.exports)
        let counted = Dictionary(uniqueKeysWithValues: tallies.all.map { ($0.export, $0.tallies) })
        let finished = Dictionary(uniqueKeysWithValues: seen.finished.map { ($0.report.export, $0) })
        allocations = allocations.filter { name, _ in shown.contains { $0.export == name } }
        var exports: [PageExport] = []
        for status in shown {
            let tallies = counted[status.export]
            exports.append(
                PageExport(
                    status, clients: seen.connections[status.export] ?? 0,
                    read: tallies?.totals(of: .read).bytes ?? 0, written: tallies?.totals(of: .write).bytes ?? 0,
                    picture: await picture(of: status.export, on: node), finished: finished[status.export]))
        }
        let event = PageEvent(
            time: Date().timeIntervalSince1970, host: host, clients: seen.clients,
            exports: exports.sorted { $0.name < $1.name }, more: seen.statuses.count - exports.count)
        latest = (event, .now)
        return event
    }

    private func picture(of export: String, on node: Node) async -> BlockPicture? {
        switch await node.blocks(of: export) {
        case .known(let picture): return picture
        case .unknown: return nil
        case .file(let image):
            if let kept = allocations[export], kept.time.duration(to: .now) < Self.allocationKeptFor {
                return kept.picture
            }
            let picture = try? await pool.runIfActive { AllocationPicture.of(image) }
            allocations[export] = (picture ?? nil, .now)
            return picture ?? nil
        }
    }

    /// Returns the events for one client, one a second, as JSON. A client that does not take one gets none.
    nonisolated func events() -> AsyncStream<String> {
        let viewer = BlockMapViewer(feed: self)
        return AsyncStream { await viewer.next() }
    }
}
