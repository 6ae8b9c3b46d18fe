import Migration

/// Collects the status of all exports of a node, also of those that arrive or are held back.
struct NodeStatus {
    let exports: [NodeExport]
    /// Registry of arriving disks; nil if the node takes none in.
    let registry: IncomingDiskRegistry?
    /// Exports that can't be served, with the reasons.
    let heldBack: [String: String]
    /// Migrations from this node that have ended.
    let past: PastMigrations

    /// Returns one status for each export, sorted by name.
    func collect() async -> [ExportStatus] {
        var all = exports.map(\.status)
        for index in all.indices { await addMissing(to: &all[index]) }
        await addCopies(to: &all)
        await addWaiting(to: &all)
        await addUnserved(to: &all)
        for index in all.indices { complete(&all[index]) }
        return all.sorted { $0.export < $1.export }
    }

    private func complete(_ status: inout ExportStatus) {
        let condition = ExportCondition(state: status.state)
        status.condition = condition.rawValue
        guard status.progress == nil, let last = past.latest(of: status.export) else { return }
        // A node that ended after the switchover has kept no better word, and goes on.
        let isUnfinished = last.state == MigrationOutcome.unfinished.rawValue
        if isUnfinished, [.moved, .released, .unreachable].contains(condition) { return }
        status.lastMigration = LastMigration(last)
    }

    /// Adds the missing blocks and problems of a disk that is served here.
    private func addMissing(to status: inout ExportStatus) async {
        if await registry?.isDeserted(status.export) == true {
            status.problem =
                "its source is not connected; the node waits for it; to cancel the migration: "
                + "nearblock cancel \(status.export)"
        }
        guard let arriving = await registry?.arriving(status.export) else { return }
        status.missing = arriving.missing
        status.missingBytes = arriving.missingBytes
        status.secondsLeft = arriving.secondsLeft
        status.sourceNeeded = true
        if status.state == "serving" { status.state = "active" }
        status.problem = status.problem ?? arriving.problem
    }

    /// Adds how far disks are that are being copied here and have exports: they are announced, or come back.
    private func addCopies(to all: inout [ExportStatus]) async {
        for copy in await registry?.beingCopied ?? [] {
            guard let place = all.firstIndex(where: { $0.export == copy.export }) else { continue }
            all[place].arrival = ArrivalProgressStatus(copy)
        }
    }

    /// Returns the disks that are being copied here and that clients can't have yet, sorted by name. They are no
    /// exports: programs take those for names that answer clients.
    func collectArriving() async -> [ExportStatus] {
        let known = Set(exports.map(\.name)).union(heldBack.keys)
        let copies = await registry?.beingCopied ?? []
        return copies.filter { !known.contains($0.export) }.map { copy in
            var status = ExportStatus(export: copy.export, size: copy.size, readOnly: false, state: "arriving")
            status.condition = ExportCondition.arriving.rawValue
            status.arrival = ArrivalProgressStatus(copy)
            return status
        }
        .sorted { $0.export < $1.export }
    }

    /// Adds disks whose sources have yet to say whether they have committed the switchover.
    private func addWaiting(to all: inout [ExportStatus]) async {
        for (name, size) in await registry?.waitingForSources ?? [] {
            let problem =
                "it waits for its source to say whether it has given the disk away; if that node will not come back: "
                + "nearblock cancel \(name) --source-is-gone"
            if let place = all.firstIndex(where: { $0.export == name }) {
                if all[place].state == "incoming" { all[place].problem = problem }
            } else {
                all.append(
                    ExportStatus(export: name, size: size, readOnly: false, state: "incoming", problem: problem))
            }
        }
    }

    private func addUnserved(to all: inout [ExportStatus]) async {
        let unserved = heldBack.merging(await registry?.unserved ?? [:]) { first, _ in first }
        for (name, reason) in unserved {
            if let place = all.firstIndex(where: { $0.export == name }) {
                all[place].problem = all[place].problem ?? reason
                continue
            }
            all.append(ExportStatus(export: name, size: 0, readOnly: false, state: "held back", problem: reason))
        }
    }
}
