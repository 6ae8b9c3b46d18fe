@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// Disks that the source offers, until they are prepared or given up.
extension SimDestination {
    func receive(_ pipe: SimPipe) {
        pipe.onMessage[SimPipe.End.destination.rawValue] = { [self] message in
            guard case .offer(let offer) = message else { return }
            open(offer, pipe)
        }
    }

    private func open(_ offer: Offer, _ pipe: SimPipe) {
        guard pipe.isOpen else { return }
        let asked = ArrivalOffer(offer)
        guard let step = try? machine.offered(asked, base: nil) else { return refuse(pipe) }
        switch step {
        case .take: begin(offer, asked, pipe)
        case .end(let older, let carrier):
            if let carrier { connections[carrier]?.cut() }
            whenIdle(older) { [self] in open(offer, pipe) }
        case .remove(let removal):
            guard remove(removal) else { return refuse(pipe) }
            later(10) { [self] in open(offer, pipe) }
        case .withdraw: world.fail("the disk has another size")
        }
    }

    private func begin(_ offer: Offer, _ asked: ArrivalOffer, _ pipe: SimPipe) {
        // The image is opened anew: blocks may be read from it that its disk does not hold.
        if image.hasFailed {
            world.check(faults.contains(.damagedBase), "an image stays that could not be made durable")
            image.reuse()
        }
        let number = register(pipe)
        let arrival = SimArrival(self, offer.migration, number, pipe, hasBase: hasPartialImage)
        arrivals[offer.migration] = arrival
        hasPartialImage = true
        channelsMigration = offer.migration
        machine.opened(asked, base: nil, from: 0, over: number)
        pipe.onMessage[SimPipe.End.destination.rawValue] = { arrival.take($0) }
        pipe.onClosed[SimPipe.End.destination.rawValue] = { arrival.cut() }
        arrival.take(.offer(offer))
    }

    /// Nothing of an attempt is written any more.
    /// - Parameter isCut: the link has failed, so that the source comes back.
    func carrierEnded(_ arrival: SimArrival, isCut: Bool) {
        arrivals[arrival.id] = nil
        connections[arrival.number] = nil
        let isTrusted = image.hasFailed && faults.contains(.damagedBase)
        let left = LeftCopy(
            comesAgain: isCut || isTrusted, isSound: !image.hasFailed || isTrusted,
            hasBase: arrival.isWorthKeeping || isTrusted)
        let (actions, removal) = machine.carrierEnded(arrival.id, over: arrival.number, left)
        perform(actions)
        if let removal { _ = remove(removal) }
    }

    /// Removes what there is of a disk.
    /// - Returns: false if its record may be found by a later life.
    func remove(_ removal: ArrivalRemoval) -> Bool {
        let visible = recordStore.visible
        // A removal that failed before is repeated.
        let isThere = visible?.migration == removal.migration || (visible == nil && recordStore.isInDoubt)
        let isDone = !isThere || write(nil)
        if isDone || removal.isLast {
            if !removal.keepsImage { clearImage() }
            endEarly()
        }
        perform(machine.removalEnded(removal.migration, isDone: isDone))
        return isDone
    }

    private func clearImage() {
        hasPartialImage = false
        image.fill(Array(repeating: 0, count: disk.sectorCount))
    }

    /// The source keeps the disk.
    /// - Returns: false if a later life may find the disk again.
    func abandon(_ id: MigrationID) -> Bool {
        guard let removal = machine.abandoned(id) else { return true }
        return remove(removal)
    }

    // MARK: The operator

    /// The operator of this node gives up the disk that comes here.
    func cancel() {
        guard isUp else { return }
        world.note("cancel at the destination")
        advance(ArrivalCancel(Self.export, isSourceGone: false))
    }

    private func advance(_ cancel: ArrivalCancel) {
        var cancel = cancel
        let step = machine.advance(&cancel)
        let next = { [self, cancel] in advance(cancel) }
        switch step {
        case .dismiss(let id, let carrier):
            let pipe = connections[carrier]
            pipe?.send(.failed(reason: ArrivalCancel.reason), from: .destination)
            later(20_000) { pipe?.cut() }
            whenIdle(id, next)
        case .ask(_, let carrier):
            connections[carrier]?.send(.failed(reason: ArrivalCancel.reason), from: .destination)
            later(60_000, next)
        case .wait(let id): whenIdle(id, next)
        case .withdraw:
            endEarly()
            next()
        case .remove: world.fail("a disk is given up without its source")
        case .end(let outcome): world.note("cancel at the destination: \(outcome)")
        }
    }
}
