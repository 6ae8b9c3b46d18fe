import Block
import MigrationCore
import MigrationProtocol
import Peer
import PeerModel

/// Disks that sources offer, until they are prepared or given up.
extension IncomingDiskRegistry {
    /// Takes an incoming disk in: finds or makes its image. `carrierEnded` must follow.
    /// - Returns: the disk, and the number of the connection that brings it.
    /// - Throws: `MigrationError.refused` if the disk can't be taken; `FileError`.
    func open(
        _ offer: Offer, over connection: PeerConnection
    ) async throws -> (disk: ReceivingDisk, carrier: ArrivalConnection) {
        guard try targets.isWanted(for: offer), await host.base(of: offer.export, isRestored: false) == nil else {
            return try await whenFree(offer) { asked, base in
                try check(offer, base)
                try machine.checkPlaces(for: asked, from: connection.peer)
                let claim = try checkSpace(for: offer, images.arrivalPath(of: offer, base))
                return take(offer, asked, try images.open(offer, base), claim, over: connection)
            }
        }
        return try await openInTarget(offer, over: connection)
    }

    /// Removes what is in the way of an offer, as far as it may go.
    /// - Parameter body: called once nothing is; nothing is waited for in it, so that what the machine has said holds. It gets
    ///   the image into which the disk may come back.
    func whenFree<Result>(
        _ offer: Offer, _ body: (ArrivalOffer, ImageBase?) throws -> Result
    ) async throws -> Result {
        let asked = ArrivalOffer(offer)
        while true {
            // Asked for last: during any other wait the disk may come back, and be served.
            let base = await host.base(of: offer.export, isRestored: false)
            switch try machine.offered(asked, base: base?.movedBy) {
            case .take: return try body(asked, base)
            case .end(let older, let carrier):
                if let carrier { close(carrier) }
                await waitUntilIdle(older)
            case .remove(let removal): try await remove(removal)
            case .withdraw(let export): await endEarly(export)
            }
        }
    }

    func take(
        _ offer: Offer, _ asked: ArrivalOffer, _ disk: ReceivingDisk, _ claim: ArrivalClaim?,
        over connection: PeerConnection
    ) -> (disk: ReceivingDisk, carrier: ArrivalConnection) {
        space.add(claim, for: offer.migration)
        receiving[offer.migration] = disk
        arrivals.add(disk.image, of: offer, from: connection.peer)
        channels[offer.migration] = early[offer.export]?.channels ?? PostCopyChannels()
        let carrier = register(connection)
        machine.opened(asked, base: disk.movedBy, from: connection.peer, over: carrier)
        return (disk, carrier)
    }

    /// - Parameter isElsewhere: the disk's place is not in the images directory.
    /// - Throws: `MigrationError.refused` if what is here already keeps a disk out.
    func check(_ offer: Offer, _ base: ImageBase?, isElsewhere: Bool = false) throws {
        try images.check(
            offer, base, among: machine.takenNames,
            isNameTaken: !machine.isAnswered(offer.export) && host.isNameTaken(offer.export), isElsewhere: isElsewhere)
    }

    /// - Parameter imagePath: nil if it is not known yet.
    /// - Throws: `MigrationError.refused` if there is no room for a disk.
    func checkSpace(for offer: Offer, _ imagePath: String?) throws -> ArrivalClaim? {
        let claim = space.claim(for: offer, imagePath: imagePath)
        if let claim { try space.check(claim, of: offer.export) }
        return claim
    }

    // MARK: Estimates

    /// Takes a place for a peer's estimate; `endEstimate` gives it back.
    /// - Throws: `MigrationError.refused` if too many ask.
    func beginEstimate(for peer: PeerIdentity) throws {
        guard estimates.take(peer) else {
            throw MigrationError.refused("\(estimates.total) disks are being looked at already; try again later")
        }
    }

    func endEstimate(for peer: PeerIdentity) { estimates.giveBack(peer) }

    /// The image of an earlier copy of a disk that may be moved here; nil if there is none. Changes nothing.
    /// - Throws: `MigrationError.refused` if it would not be taken.
    func existingImage(for offer: Offer) async throws -> (any DiskImage)? {
        let base = await host.base(of: offer.export, isRestored: false)
        guard !machine.isTaken(offer.export, base: base?.movedBy) else {
            throw MigrationError.refused("\(offer.export) is arriving or served there already")
        }
        guard base == nil, try targets.isWanted(for: offer) else {
            try check(offer, base)
            _ = try checkSpace(for: offer, images.arrivalPath(of: offer, base))
            return base?.image ?? images.partialImage(for: offer)
        }
        try check(offer, nil, isElsewhere: true)
        let place = try targets.place(for: offer)
        _ = try checkSpace(for: offer, place?.location)
        guard let place, place.isPlain else { return nil }
        return try? RawImage(path: place.location, access: .readOnly, size: offer.size)
    }

    // MARK: Clients before the switchover

    /// Whether clients are answered for a disk that is still to be switched over.
    func isAnswered(_ export: String) -> Bool { machine.isAnswered(export) }

    /// Whether clients are answered for a disk that no connection brings at the moment.
    public func isDeserted(_ export: String) -> Bool { machine.isDeserted(export) }

    /// Ends answering clients of a disk that no connection brings. Blocks that have come stay for another attempt.
    /// - Returns: false if a connection brings it, or there is no such disk.
    public func withdraw(_ export: String) async -> Bool {
        guard machine.withdraw(export) else { return false }
        await endEarly(export)
        return true
    }

    /// Answers clients of a disk that is still arriving.
    /// - Returns: the signal that one of them wants to write; nil if none is answered here before the switchover.
    func announce(_ offer: Offer, _ switchover: Switchover) async throws -> ChangeSignal? {
        switch try machine.expected(offer.migration, offer.export, isReadOnly: offer.isReadOnly, switchover) {
        case .none: return nil
        case .answered: return early[offer.export]?.onChange
        case .announce: break
        }
        guard let channels = channels[offer.migration] else { return nil }
        let signal = ChangeSignal()
        let reads = EarlyReads(channels: channels)
        let device = IncomingDevice(
            reader: reads, refusesChanges: refusesEarlyWrites, isReadOnly: offer.isReadOnly
        ) { signal.raise() }
        reads.listen()
        let disk = try await host.announce(offer.export, size: offer.size, device: device)
        early[offer.export] = EarlyExport(
            device: device, reads: reads, channels: channels, disk: disk, onChange: signal)
        machine.announced(offer.export, size: offer.size)
        logger.notice(
            "\(offer.export) is answered here already; \(refusesEarlyWrites ? "writes are refused" : "writes wait")")
        return signal
    }

    // MARK: The end

    /// - Throws: `MigrationError.refused` with the reason if this node ends the disk's arrival.
    func checkNotDismissed(_ migration: MigrationID) throws { try machine.checkNotDismissed(migration) }

    /// Keeps an unprepared disk whose connection has ended for the next attempt, or removes it. A prepared disk stays until its
    /// source decides.
    func carrierEnded(_ migration: MigrationID, over carrier: ArrivalConnection, _ left: LeftCopy) async {
        unregister(carrier)
        let (actions, removal) = machine.carrierEnded(migration, over: carrier, left)
        perform(actions)
        guard let removal else { return }
        do { try await remove(removal) } catch {
            // Its source was never told that it is prepared, and names it when it comes again.
            logger.warning("what is noted of a disk that will not come stays: \(error)")
        }
    }

    /// Removes a disk whose source has said that it keeps it.
    /// - Throws: if a later life may find it again, so that its source is to say so again.
    func abandon(_ migration: MigrationID) async throws {
        if let removal = machine.abandoned(migration) { try await remove(removal) }
    }
}
