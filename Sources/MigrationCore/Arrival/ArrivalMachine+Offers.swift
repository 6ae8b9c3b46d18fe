import MigrationProtocol

/// Offers of sources: which disks are taken in, and what has to go for them.
extension ArrivalMachine {
    /// The driver's next step for an offer.
    package enum OfferStep: Equatable, Sendable {
        /// An older attempt is still at work: close its carrier, if it has one, wait until the attempt is idle, and offer
        /// again.
        case end(MigrationID, ArrivalConnection?)
        /// Perform the removal, tell `removalEnded`, and offer again.
        case remove(ArrivalRemoval)
        /// Answer clients of that name no more, and offer again.
        case withdraw(String)
        /// The disk can be taken, unless files or space are against it; `opened` says that it is.
        case take
    }

    /// A source offers a disk. To be called again after each step, since other offers may have come meanwhile.
    /// - Parameter base: the migration by which an image of that name moved away from here; nil if none did. The disk may
    ///   come back into that image. The caller asks for it again after each step; an outdated answer is harmless.
    /// - Throws: `MigrationError.refused` if the name is taken, or the image is in use.
    package mutating func offered(_ offer: ArrivalOffer, base: MigrationID?) throws -> OfferStep {
        guard arrivals[offer.migration] == nil else {
            throw MigrationError.refused("this migration is known already")
        }
        // A source keeps such a disk, which may have another name there now.
        for attempt in offer.abandoned where names[offer.export] != attempt {
            if let step = release(attempt) { return step }
        }
        if let other = names[offer.export], !isEarlierLife(other, base: base) {
            if offer.abandoned.contains(other), let step = release(other) { return step }
            throw refusal(of: offer.export, because: other)
        }
        guard isFree(base) else {
            throw MigrationError.refused(
                "the image of \(offer.export) is in use there already by a disk that came back")
        }
        if let size = announced[offer.export], size != offer.size {
            announced[offer.export] = nil
            return .withdraw(offer.export)
        }
        return .take
    }

    /// The next step by which an attempt goes that its source has given up; nil if there is none.
    private mutating func release(_ attempt: MigrationID) -> OfferStep? {
        guard isIdle(attempt) else { return isReleasable(attempt) ? .end(attempt, carriers[attempt]) : nil }
        guard isPrepared(attempt) else { return nil }
        return .remove(beginRemoval(of: attempt, keepsImage: true))
    }

    /// Whether an attempt may go if its source says so: a disk that was given to this node stays.
    private func isReleasable(_ attempt: MigrationID) -> Bool {
        switch arrivals[attempt] {
        case .receiving?, .removing?: true
        case .prepared(let record)?: !record.isCommitted
        case .activating?, .active?, nil: false
        }
    }

    /// Whether a migration brought the disk here that has moved on since: those that forward by that migration still do.
    private func isEarlierLife(_ migration: MigrationID, base: MigrationID?) -> Bool {
        if base != nil, isFree(base), case .active? = arrivals[migration] { true } else { false }
    }

    /// Whether no disk comes back, or has come back, into the image that moved away by a migration. The machine knows that
    /// itself: the node's answer may have become outdated on its way here.
    private func isFree(_ base: MigrationID?) -> Bool { base.map { returns[$0] == nil } ?? true }

    private func refusal(of export: String, because other: MigrationID) -> MigrationError {
        switch arrivals[other] {
        case .prepared(let record)? where !record.isCommitted:
            .refused(
                "\(export) has arrived there by another migration and waits for its source; "
                    + "migrate again from that source")
        case .receiving?, .removing?:
            .refused("\(export) is arriving there already; wait for it or cancel it")
        case .prepared?, .activating?, .active?, nil:
            .refused("\(export) is served there already; give the export another name")
        }
    }

    /// Whether a disk of that name would be refused for one that is here: asked for an estimate, which changes nothing.
    package func isTaken(_ export: String, base: MigrationID?) -> Bool {
        if base != nil { !isFree(base) } else { names[export] != nil }
    }

    /// Checks that a peer may bring one more disk.
    /// - Throws: `MigrationError.refused`.
    package func checkPlaces(for offer: ArrivalOffer, from peer: Peer) throws {
        try places.check(offer.export, blocks: offer.blocks, from: peer)
    }

    /// A disk is taken in: its image is open.
    /// - Parameter base: the migration by which the image moved away from here; nil if it is not one of the node's own.
    package mutating func opened(
        _ offer: ArrivalOffer, base: MigrationID?, from peer: Peer, over connection: ArrivalConnection
    ) {
        precondition(arrivals[offer.migration] == nil, "a disk is taken in once")
        precondition(isFree(base), "an image is in use by one disk")
        precondition(
            names[offer.export].map { isEarlierLife($0, base: base) } ?? true, "a disk is not replaced while it is here"
        )
        if let base { returns[base] = offer.migration }
        replaced[offer.migration] = names[offer.export]
        names[offer.export] = offer.migration
        arrivals[offer.migration] = .receiving(keepsImage: base != nil)
        carriers[offer.migration] = connection
        places.begin(offer.migration, blocks: offer.blocks, from: peer)
    }

    /// Checks that a disk may go on arriving.
    /// - Throws: `MigrationError.refused` with the reason if this node ends its arrival.
    package func checkNotDismissed(_ migration: MigrationID) throws {
        if let reason = dismissals[migration] { throw MigrationError.refused(reason) }
    }

    // MARK: Clients before the switchover

    /// Whether clients of a disk that is still arriving are to be answered.
    package enum AnnounceStep: Equatable, Sendable {
        /// None is to be answered here: the clients are forwarded to the source until the switchover.
        case none
        /// They are answered already.
        case answered
        /// Answer them, then tell `announced`.
        case announce
    }

    /// A source wants clients of its disk to be answered here before the switchover.
    /// - Throws: `MigrationError.refused` if a first write can't say that the clients have moved.
    package func expected(
        _ migration: MigrationID, _ export: String, isReadOnly: Bool, _ switchover: Switchover
    ) throws -> AnnounceStep {
        if case .receiving(keepsImage: true)? = arrivals[migration] {
            guard switchover != .firstWrite else {
                throw MigrationError.refused(
                    "\(export) comes back to where its clients still are, so that no first write tells that they "
                        + "have moved; use --switch converged, manual or now")
            }
            return .none
        }
        guard !isReadOnly || switchover != .firstWrite else {
            throw MigrationError.refused("\(export) is read-only, so that there is no first write")
        }
        return announced[export] == nil ? .announce : .answered
    }

    /// Clients of a disk that is still arriving are answered.
    /// - Parameter size: bytes.
    package mutating func announced(_ export: String, size: UInt64) { announced[export] = size }

    /// Whether clients are answered for a disk that is still to be switched over.
    package func isAnswered(_ export: String) -> Bool { announced[export] != nil }

    /// Whether clients are answered for a disk that no connection brings at the moment.
    package func isDeserted(_ export: String) -> Bool { isAnswered(export) && names[export] == nil }

    /// Clients are to be answered no more for a disk that no connection brings.
    /// - Returns: false if a connection brings it, or no client is answered.
    package mutating func withdraw(_ export: String) -> Bool {
        guard isDeserted(export) else { return false }
        announced[export] = nil
        return true
    }
}
