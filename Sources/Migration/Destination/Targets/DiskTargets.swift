import Block
import Glibc
import Logging
import MigrationProtocol

/// The places of arriving disks that the operator's commands make.
///
/// Each has a record from before its command runs, so that a restart loses no place. The record ends when the disk is switched
/// over, or the place has been released.
struct DiskTargets: Sendable {
    /// The time that a command has. The source and other disks of the same guest wait meanwhile.
    static let commandLimit = Duration.seconds(60)

    let policy: TargetPolicy
    let records: IncomingRecords
    let logger: Logger
    var limit = Self.commandLimit
    private let turns = ExportTurns()

    init(policy: TargetPolicy, records: IncomingRecords, logger: Logger) {
        self.policy = policy
        self.records = records
        self.logger = logger
    }

    /// Whether a disk gets its place by a command; otherwise it comes into the images directory.
    /// - Throws: if the disk's record can't be read.
    func isWanted(for offer: Offer) throws -> Bool {
        try policy.commands(of: policy.domain(among: offer.domains)) != nil || record(of: offer.export)?.place != nil
    }

    /// The record of an export's place; nil if it has none.
    func record(of export: String) throws -> TargetRecord? {
        try records.state.read(TargetRecord.self, from: name(of: export))
    }

    /// The names of the exports that have a record.
    func exports() throws -> [String] {
        try records.state.readAll(TargetRecord.self, prefix: "\(TargetRecord.prefix)-").compactMap { name, record in
            name == self.name(of: record.export) ? record.export : nil
        }
    }

    /// The place that an interrupted attempt has left for a disk; nil if there is none.
    /// - Throws: if the disk's record can't be read.
    func place(for offer: Offer) throws -> TargetPlace? {
        guard let record = try record(of: offer.export), record.size == offer.size, record.isReleasing != true else {
            return nil
        }
        return try record.place.map { try TargetPlace(line: $0) }
    }

    private func name(of export: String) -> String { records.name(of: export, TargetRecord.prefix) }

    private func write(_ record: TargetRecord) throws { try records.state.write(record, as: name(of: record.export)) }

    /// Removes the record of a place, which is the disk's from now on.
    func keep(_ export: String) throws { try records.state.remove(name(of: export)) }

    // MARK: Preparing

    /// Returns the place of an interrupted attempt, or has one made. Cancelling the task ends the command, and releases what
    /// it has made.
    /// - Throws: `MigrationError.refused` with the command's reason; if the record can't be written.
    func prepare(_ offer: Offer) async throws -> PreparedTarget {
        await turns.begin(offer.export)
        let outcome: Result<PreparedTarget, any Error>
        do { outcome = .success(try await prepareInTurn(offer)) } catch { outcome = .failure(error) }
        await turns.end(offer.export)
        return try outcome.get()
    }

    private func prepareInTurn(_ offer: Offer) async throws -> PreparedTarget {
        var known = try record(of: offer.export)
        // Left by a release that has failed, or made for a disk of another size.
        if let old = known, old.isReleasing == true || old.size != offer.size {
            guard await runRelease(old) else {
                throw MigrationError.refused(
                    "the place of an earlier migration of \(offer.export) can't be released there; its node's log says why"
                )
            }
            known = nil
        }
        if let line = known?.place {
            let place = try TargetPlace(line: line)
            if place.isThere { return PreparedTarget(place: place, isResumed: true) }
        }
        return try await ask(known, offer)
    }

    /// - Parameter known: the record of a command that was interrupted, or of a place that is not there any more.
    private func ask(_ known: TargetRecord?, _ offer: Offer) async throws -> PreparedTarget {
        let record =
            known
            ?? TargetRecord(export: offer.export, size: offer.size, domain: policy.domain(among: offer.domains))
        guard let commands = policy.commands(of: record.domain) else {
            throw MigrationError.refused(
                "\(offer.export) was prepared there by a command that is not configured any more; cancel it there first"
            )
        }
        if known == nil { try write(record) }
        let outcome: OperatorCommand.Outcome
        do {
            outcome = try await command(commands.prepare, "prepare", record, offer.details?.dataBytes).run()
        } catch {
            try await undo(record)
            throw refusal(offer.export, error)
        }
        guard outcome.status == 0 else {
            // A command that refuses leaves nothing. One that a signal has ended may have been in the middle of it.
            if outcome.status >= 128 {
                try await undo(record)
            } else if known == nil {
                try records.state.remove(name(of: record.export))
            }
            throw refusal(offer.export, outcome)
        }
        do {
            var made = record
            let place = try TargetPlace(output: outcome.output)
            made.place = place.line
            try write(made)
            return PreparedTarget(place: place, isResumed: known?.place == place.line)
        } catch {
            try await undo(record)
            throw error
        }
    }

    private func command(
        _ words: [String], _ action: String, _ record: TargetRecord, _ usedBytes: UInt64?
    ) -> OperatorCommand {
        OperatorCommand(
            words: words,
            environment: TargetVariables.environment(action, for: record, usedBytes: usedBytes), limit: limit)
    }

    private func refusal(_ export: String, _ outcome: OperatorCommand.Outcome) -> MigrationError {
        let reason = PlainLine.last(of: outcome.errors) ?? "it gave no reason (exit status \(outcome.status))"
        return .refused("no place for \(export) there: \(reason)")
    }

    private func refusal(_ export: String, _ error: any Error) -> any Error {
        guard let failure = error as? OperatorCommand.Failure else { return error }
        logger.error("the command that prepares the place of \(export) \(failure.text(limit))")
        return failure == .cancelled
            ? CancellationError() as any Error
            : MigrationError.refused("no place for \(export) there: its command \(failure.text(limit))")
    }

    // MARK: Releasing

    /// Notes durably that a place is to be released; `release` does it.
    /// - Throws: if the record can't be written.
    func beginRelease(of export: String) throws {
        guard var record = try record(of: export), record.isReleasing != true else { return }
        record.isReleasing = true
        try write(record)
    }

    /// Releases a place that is to be released. If that fails, it is tried again at the next start of the node, or the next
    /// migration of that name.
    func release(_ export: String) async {
        await turns.begin(export)
        do {
            if let record = try record(of: export), record.isReleasing == true { _ = await runRelease(record) }
        } catch { logger.error("the place of \(export) is not released: \(error)") }
        await turns.end(export)
    }

    /// Releases what a command may have made that has failed.
    private func undo(_ record: TargetRecord) async throws {
        var record = record
        record.isReleasing = true
        try write(record)
        // A cancelled task would end this command, too.
        _ = await Task { [record] in await runRelease(record) }.value
    }

    /// - Returns: whether the place is not this arrival's any more.
    private func runRelease(_ record: TargetRecord) async -> Bool {
        do {
            // The last line of defence: this disk may be served from there, or another one.
            if let place = record.place, let other = try records.owner(ofPlace: place, except: record.export) {
                logger.error("\(place) is the place of \(other), and is not released for \(record.export)")
            } else if let arrived = try records.read(record.export), arrived.phase == .active,
                arrived.place == record.place,
                record.place != nil
            {
                logger.error("\(record.export) has been switched over, and its place is not released")
            } else if let words = policy.commands(of: record.domain)?.release {
                let outcome = try await command(words, "release", record, nil).run()
                guard outcome.status == 0 else {
                    let reason = PlainLine.last(of: outcome.errors) ?? "exit status \(outcome.status)"
                    logger.error("the place of \(record.export) is not released: \(reason)")
                    return false
                }
            } else if let place = record.place {
                logger.warning("\(place) stays: there is no command that releases it")
            }
            try records.state.remove(name(of: record.export))
            return true
        } catch let failure as OperatorCommand.Failure {
            logger.error("the command that releases the place of \(record.export) \(failure.text(limit))")
        } catch { logger.error("the place of \(record.export) is not released: \(error)") }
        return false
    }
}

extension OperatorCommand.Failure {
    /// The end of a sentence whose subject is the command.
    fileprivate func text(_ limit: Duration) -> String {
        switch self {
        case .cannotStart(let code): "can't be run: \(String(cString: strerror(code)))"
        case .tooSlow: "did not end within \(limit.components.seconds) s and was ended"
        case .tooMuchOutput: "has printed more than \(OperatorCommand.mostOutput) bytes and was ended"
        case .cancelled: "was ended, as nobody waits for it any more"
        }
    }
}
