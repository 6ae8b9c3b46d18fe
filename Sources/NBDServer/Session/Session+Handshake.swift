import Block
import NBD

/// The steps of the handshake that concern more than its bytes.
extension Session {
    /// Continues the handshake with the input.
    /// - Returns: whether the input may hold more for the session now.
    func processHandshake() -> Bool {
        handshake.receive(input)
        handshake.advance()
        queueHandshakeOutput()
        guard handshake.isQueued else { return false }
        switch handshake.consumeProgress() {
        case .needsMore:
            return false
        case .needsSending:
            return true
        case .needsLook(let name):
            return !beginExamination(of: name)
        case .needsAdmission:
            waitForAdmission()
            return false
        case .close:
            visit.noteEnd(.disconnected)
            reading = .nothing
            return false
        case .startTLS:
            // An attacker may have put bytes in the clear behind the option; they must not count as the client's.
            _ = handshake.consumeInput()
            reading = .startingTLS
            return true
        case .transmission(let negotiation):
            beginTransmission(negotiation)
            return true
        }
    }

    /// Queues as much of the handshake's output as fits.
    func queueHandshakeOutput() {
        if handshake.queueOutput(in: &stream.replies) { flushAtBatchEnd() }
    }

    /// Lets the export's watcher examine it.
    /// - Returns: false if the export has no watcher any more.
    private func beginExamination(of name: String) -> Bool {
        guard let watcher = exports.watcher(of: name) else {
            handshake.looked(refusal: nil)
            return false
        }
        reading = .examiningExport
        watcher.look { [self, loop] refusal in loop.post { [self] in endExamination(refusal) } }
        return true
    }

    private func endExamination(_ refusal: String?) {
        guard case .examiningExport = reading else { return }
        handshake.looked(refusal: refusal)
        reading = .handshake
        proceed()
    }

    /// Waits for connections that were given up and are still counted; then the count decides.
    private func waitForAdmission() {
        guard let export = exports.undecided else { return hangUp() }
        reading = .waitingForAdmission
        owner.finishGivenUp(on: export, for: self) { [self] in
            guard case .waitingForAdmission = reading else { return }
            exports.decide()
            reading = .handshake
            proceed()
        }
    }

    private func beginTransmission(_ negotiation: Negotiation) {
        // The export may have been removed or replaced since the client was told about it.
        guard let export = exports.chosen, export.description.size == negotiation.export.size,
            export.description.isReadOnly == negotiation.export.isReadOnly
        else { return hangUp() }
        self.export = export
        self.negotiation = negotiation
        if !negotiation.contexts.isEmpty { statusReply = StatusReply(negotiation, export.maps) }
        let port = export.disk.port(on: loop)
        self.port = port
        owedFlush = OwedFlush(export.disk.losses)
        slots = RequestSlots(
            count: ServerLimits.requestsPerConnection, owner: self, port: port, isSynchronous: export.isSynchronous)
        tally = export.tallies?.tally(of: loop.index)
        visit.opened(export.description.name, isSecure: stream.isSecure)
        reading = .waitingForOthers
        owner.finishGivenUp(on: export, for: self) { [self] in
            guard case .waitingForOthers = reading else { return }
            reading = .header
            proceed()
        }
        // Requests may follow the handshake directly; they are never more than one receive has brought.
        input.keepRest()
        input.keep(handshake.consumeInput())
    }
}
