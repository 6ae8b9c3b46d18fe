import BlockModel
import MigrationProtocol

extension SourceMachine {
    /// Judges a message of the destination in the state of this moment.
    /// - Throws: `MigrationError`, where the destination has given up, or the message can't stand here: the migration is then
    ///   over, at once. Not once the commit record may be there.
    package mutating func receive(_ message: Message) throws -> Reception {
        switch (step, message) {
        case (_, .postcopy(.switchNow)):
            // A switchover can't be undone: where it is the operator's to order, a destination's request is none.
            return switchover == .firstWrite && !isCommitting ? .switchOver : .nothing
        case (_, .prefixAnswer(let answer)) where answer.has.count == questioned:
            questioned = nil
            return .prefix(answer)
        case (.commit, _), (.forward, .failed), (.forward, .refused), (.awaitActive, .failed), (.awaitActive, .refused),
            (.forward, .refusedForRoom), (.awaitActive, .refusedForRoom):
            return .lost
        case (_, .refused(let reason)):
            throw MigrationError.refused(reason)
        case (_, .refusedForRoom(let reason)):
            throw MigrationError.noRoom(reason)
        case (_, .failed(let reason)):
            throw MigrationError.peerFailed(reason)
        case (.greet, .welcome(let welcome)):
            return .next(try greeted(welcome))
        case (.offer(let geometry, let agreement), .accepted):
            return .next(accepted(geometry, agreement, hasBase: false))
        case (.offer(let geometry, let agreement), .acceptedOnBase):
            return .next(accepted(geometry, agreement, hasBase: true))
        case (.copyManifest, .wants(let wants)) where !isManifestDone:
            return .wants(wants)
        case (.copyManifest, .differences(let differences)) where !isManifestDone:
            return .differences(differences)
        case (.copyManifest, .manifestDone) where !isManifestDone:
            isManifestDone = true
            return .manifestDone
        case (.endRound(let round), .roundDone(let number)) where number == round:
            return .next(go(round == 1 ? .connect : .measure))
        case (.nameAhead(let round), .roundDone(let number)) where number == round && !isNamed:
            isNamed = true
            return .named
        case (.sendRest(let round), .roundDone(let number)) where number == round && !hasLastRoundEnded:
            hasLastRoundEnded = true
            return .nothing
        case (.sendRest, .prepared(let root)) where hasLastRoundEnded:
            return .next(go(.compare(root)))
        case (.nameRest, .postcopy(.missing(let runs))):
            return .missing(try runs.map { try missing($0) })
        case (.nameRest, .prepared(let root)):
            return .next(go(.compare(root)))
        case (.forward, .active), (.awaitActive, .active):
            return .active
        case (.forward, _), (.awaitActive, _), (.supplyRest, _):
            return .lost
        default:
            throw MigrationError.unexpected(outOfTurn)
        }
    }

    /// Whether there may be a commit record already.
    private var isCommitting: Bool {
        switch step {
        case .commit, .forward, .awaitActive, .supplyRest: true
        default: false
        }
    }

    private mutating func greeted(_ welcome: Welcome) throws -> Step {
        let agreement = try ProtocolSupport.agreement(source: .own, destination: welcome.support)
        if !agreement.capabilities.contains(.postcopy) {
            guard switchover == .converged else {
                throw MigrationError.refused(
                    "its release can take a disk over only once all of it is there; use --switch converged, "
                        + "or run the same release on both sides")
            }
            needWholeDisk()
        }
        guard let plain = BlockGeometry(size: size, blockSize: Int(welcome.blockSize)) else {
            throw MigrationError.unexpected("a block size of \(welcome.blockSize)")
        }
        // An offer says them in its details.
        let saysOrigins = agreement.capabilities.isSuperset(of: [.grids, .offerDetails])
        let origins =
            saysOrigins ? GridLayout.origins(for: places, diskSize: size, blockSize: plain.blockSize) : []
        guard let geometry = BlockGeometry(size: size, blockSize: plain.blockSize, origins: origins) else {
            preconditionFailure("origins that were made for this disk")
        }
        return go(.offer(geometry, agreement))
    }

    private mutating func accepted(
        _ geometry: BlockGeometry, _ agreement: ProtocolSupport.Agreement, hasBase: Bool
    ) -> Step {
        go(
            .open(
                OpenedMigration(
                    geometry: geometry, hasBase: hasBase,
                    takesLatePieces: agreement.capabilities.contains(.latePieces),
                    takesBitmap: agreement.capabilities.contains(.bitmaps),
                    takesPrefix: agreement.capabilities.contains(.prefix))))
    }

    private mutating func missing(_ range: BlockRange) throws -> Range<UInt64> {
        let blocks = try range.blocks(of: geometry!, called: "missing blocks")
        guard blocks.lowerBound >= missingEnd else { throw MigrationError.unexpected("missing blocks out of order") }
        missingEnd = blocks.upperBound
        return blocks
    }

    /// The error of a message that is not the one that is due.
    private var outOfTurn: String {
        switch step {
        case .greet: "no welcome"
        case .offer: "no answer to the offer"
        case .copyManifest: "no wants"
        case .endRound(let round), .nameAhead(let round), .copy(let round, _): "round \(round) has no end"
        case .flush, .meetBeforeFence, .fence, .sendRest, .nameRest, .compare: "no root"
        case .open, .meetBeforeCopying, .start, .connect, .measure, .agree, .awaitOthers, .wait, .flushCopying, .commit,
            .forward, .awaitActive, .supplyRest, .finish:
            "a message out of turn"
        }
    }
}
