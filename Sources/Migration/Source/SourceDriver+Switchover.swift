import Block
import BlockModel
import MigrationCore
import MigrationProtocol

extension SourceDriver {
    /// Holds the guest's requests back, sends the last blocks or says which they are, compares the roots, and gives the
    /// disk away.
    mutating func switchOver(_ step: SourceMachine.Step) async throws -> SourceMachine.Step {
        switch step {
        case .fence:
            // From the meeting to here nothing may fail: to give up now is to lift the fence.
            fenced = .now
            await job.fence()
            return advance { $0.fenced() }
        case .sendRest(let round):
            watchFence(sending: copy.sendingTime(of: copy.dirtyBytes))
            try await sendBitmap()
            return try await sendRest(round)
        case .nameRest:
            watchFence(sending: .zero)
            try await sendBitmap()
            let (ours, theirs, missing) = try await opened!.rest.agree(&receiver)
            root = (ours, missing)
            copy.note(missing: missing)
            return .compare(theirs)
        case .compare(let theirs):
            let ours = root!.ours
            return try advance { try $0.compared(source: ours, destination: theirs) }
        case .commit:
            do { try await commit() } catch {
                // The destination has all of it, and would wait for a commit that never comes.
                group.fail(error)
                throw error
            }
            fenceWatch?.cancel()
            let next = advance { $0.committed() }
            do { try job.records.forgetAttempts() } catch {
                migration.logger.warning(
                    "the notes of how \(job.export) has moved stay until this node is started again: \(error)")
            }
            return next
        case .forward:
            await forward()
            return advance { $0.forwarded() }
        case .awaitActive:
            return try await awaitActive()
        default: preconditionFailure("\(step) is not behind the fence")
        }
    }

    private mutating func watchFence(sending: Duration) {
        fenceWatch = Task { [group, downtime] in
            try await Task.sleep(for: downtime.longestFence(sending: sending))
            group.fail(MigrationError.tooSlow)
        }
    }

    private mutating func sendRest(_ round: Int) async throws -> SourceMachine.Step {
        try await copy.dirtyRound(round, .all, isFinal: true)
        // The destination works its root out at the end of a round, at the same time as this side.
        try await link.sendNow(.roundEnd(UInt32(round)))
        let ours = try await copy.root()
        root = (ours, BlockSet(of: copy.geometry.blockCount))
        try await link.sendNow(.prepare(ours))
        return try await receiver.nextStep()
    }

    /// Makes the commit record durable, for all disks of the group. A cancel that comes later comes too late; one that came
    /// before is heard.
    private func commit() async throws {
        let (ours, missing) = root!
        var record = try MovedRecord(
            export: job.export, image: job.image, migration: migration.id, destination: job.destination,
            root: ours.description)
        if !missing.isEmpty { record.setBlocks(copy.geometry) }
        record.rate = job.rate.bitsPerSecond
        // The image may have lost what the guest was told is durable, and both roots may be of what is left.
        try job.image.checkIsDurable()
        let records = job.records
        if group.count == 1 {
            try await group.commit(migration.member, records.commitRecord(record), report: migration.report)
        } else {
            record.group = group.id
            // Without the common record it counts for nothing, whether it is there or not.
            try await BlockingWork.run { [record] in try records.commit(record) }
            try await group.commit(migration.member, records.commitRecord(for: group.id), report: migration.report)
        }
    }

    private func forward() async {
        let forward = links.forward
        let missing = root!.missing
        copy.blockMap.switchedOver(missing: missing)
        forward.commit()
        forward.start()
        links.forwarding(forward)
        if !missing.isEmpty, let supply = migration.supply {
            supply.commit(pathCarries: await link.carries(), agreed: copy.agreed(without: missing))
            links.supplying(supply)
            supply.start()
        }
        try? await link.sendNow(.commit)
        await job.replaceDevice(ForwardingDevice(forwarder: forward))
        await job.track(nil)
        await job.unfence()
    }

    private mutating func awaitActive() async throws -> SourceMachine.Step {
        let forward = links.forward
        // If the commit is lost right now, the forwarding link says it again, on every new connection.
        if case .active? = try? await receiver.next() { forward.confirmActive() } else { forward.reconnect() }
        await forward.waitUntilActive()
        guard forward.isActive else { throw MigrationError.stopping }
        end = .now
        let isNeeded = !root!.missing.isEmpty
        return advance { $0.moved(isNeeded: isNeeded) }
    }
}
