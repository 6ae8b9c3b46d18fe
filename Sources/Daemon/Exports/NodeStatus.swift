import Migration

/// Collects the status of all exports of a node, also of those that arrive or are held back.
struct NodeStatus {
    let exports: [NodeExport]
    /// Registry of arriving disks; nil if the node takes none in.
    let registry: IncomingDiskRegistry?
    /// Exports that can't be served, with the reasons.
    let heldBack: [String: String]

    /// Returns one status for each export, sorted by name.
    func collect() async -> [ExportStatus] {
        var all = exports.map(\.status)
        for index in all.indices { await addArrival(to: &all[index]) }
        await addWaiting(to: &all)
        await addUnserved(to: &all)
        return all.sorted { $0.export < $1.export }
    }

    /// Adds the missing blocks and problems of a disk that arrives.
    private func addArrival(to status: inout ExportStatus) async {
        if await registry?.isDeserted(status.export) == true {
            status.problem =
                "its source is not connected; the node waits for it; to cancel the migration: "
                + "nearblock cancel \(status.export)"
        }
        guard let arriving = await registry?.arriving(status.export) else { return }
        status.missing = arriving.missing
        status.secondsLeft = arriving.secondsLeft
        if status.state == "serving" { status.state = "active" }
        status.problem = status.problem ?? arriving.problem
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
