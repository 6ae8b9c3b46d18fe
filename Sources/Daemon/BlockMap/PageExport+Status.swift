import BlockModel

extension PageExport {
    /// Describes an export.
    init(
        _ status: ExportStatus, clients: Int, read: UInt64, written: UInt64, picture: BlockPicture?,
        finished: FinishedMigration?
    ) {
        name = status.export
        size = status.size
        state = ExportCondition(state: status.state).rawValue
        phase = status.progress?.phase
        destination = status.destination
        problem = status.problem
        self.clients = clients
        self.read = read
        self.written = written
        if let progress = status.progress {
            round = progress.phase == "copying" ? progress.round : nil
            secondsLeft = progress.secondsLeft
            dirtyRate = progress.dirtyRate
            linkRate = progress.linkRate / 8
            wire = progress.wire
            ledger = Dictionary(uniqueKeysWithValues: progress.ledger.bySource.map { ($0.source, $0.bytes) })
        }
        show(picture)
        setPercent(status)
        guard let finished else { return }
        let report = finished.report
        last = Last(
            destination: finished.destination, end: finished.end.timeIntervalSince1970, seconds: report.seconds.total,
            downtime: report.seconds.pause)
        guard status.progress == nil else { return }
        wire = report.wire.total
        ledger = Dictionary(uniqueKeysWithValues: report.ledger.bySource.map { ($0.source, $0.bytes) })
    }

    private mutating func show(_ picture: BlockPicture?) {
        guard let picture else { return }
        let blockSize = UInt64(picture.blockSize)
        map = Map(cellBytes: picture.division.blocksPerCell &* blockSize, runs: CellRuns.text(picture.cells))
        var sums: [String: UInt64] = [:]
        for cell in picture.cells {
            for origin in BlockOrigin.allCases { sums["\(origin)", default: 0] += cell.arrived[origin.rawValue] }
            sums["missing", default: 0] += cell.missing
            sums["dirty", default: 0] += cell.dirty
        }
        totals = sums.mapValues { $0 &* blockSize }
    }

    private mutating func setPercent(_ status: ExportStatus) {
        if let progress = status.progress, progress.phase == "copying", progress.total > 0 {
            percent = 100 * Double(min(progress.done, progress.total)) / Double(progress.total)
        } else if let missing = totals?["missing"], missing > 0 || status.progress != nil, size > 0 {
            percent = 100 * (1 - min(1, Double(missing) / Double(size)))
        }
    }
}
