import MigrationProtocol

/// Judges the destination's messages about one connection of a memory migration.
package struct MemorySourceMachine: Sendable {
    /// The effect of a message.
    package enum Action: Equatable, Sendable {
        /// The stream may begin.
        case begin(history: Int, readable: [Bool])
        /// Batches have been delivered: their bytes need not be kept.
        case release(upTo: UInt64)
        /// The bytes of that batch are to be sent without references.
        case repair(batch: UInt64)
        /// Bytes for the hypervisor.
        case giveBack([UInt8])
        /// The hypervisor gets no more bytes.
        case endBack
        /// The other hypervisor has everything.
        case finish
    }

    private enum State {
        case opening, relaying, ended, finished
    }

    /// Disks of the offer.
    private let disks: Int
    private var state = State.opening
    /// Whether the other hypervisor may still say something.
    package private(set) var isBackOpen = true
    package private(set) var window = MemoryWindow()
    /// The batch that was asked for again last.
    private var repaired: UInt64?

    package init(disks: Int) {
        self.disks = disks
    }

    /// Records a batch that goes to the link.
    package mutating func send(stream: UInt64, onLink: UInt64) {
        precondition(state == .relaying, "batches follow the acceptance, and the end follows them")
        window.send(stream: stream, onLink: onLink)
    }

    /// Records the end of the stream.
    package mutating func end() {
        precondition(state == .relaying)
        state = .ended
    }

    /// Judges a message.
    /// - Throws: `MigrationError`.
    package mutating func receive(_ message: Message) throws -> Action {
        switch (message, state) {
        case (.failed(let reason), _), (.refused(let reason), _), (.refusedForRoom(let reason), _):
            throw MigrationError.peerFailed(reason)
        case (.memory(.accepted(let history, let readable)), .opening) where readable.count == disks:
            state = .relaying
            return .begin(history: Int(min(history, UInt32(Self.mostHistory))), readable: readable)
        case (.memory(.delivered(let batches)), .relaying), (.memory(.delivered(let batches)), .ended):
            try window.deliver(upTo: batches)
            return .release(upTo: batches)
        case (.memory(.again(let batch)), .relaying), (.memory(.again(let batch)), .ended):
            return try repair(batch)
        case (.memory(.back(let bytes)), .relaying), (.memory(.back(let bytes)), .ended),
            (.memory(.back(let bytes)), .finished):
            try checkBackIsOpen()
            return .giveBack(Array(bytes.readableBytesView))
        case (.memory(.backEnd), .relaying), (.memory(.backEnd), .ended), (.memory(.backEnd), .finished):
            try checkBackIsOpen()
            isBackOpen = false
            return .endBack
        case (.memory(.ended), .ended) where window.isEmpty:
            state = .finished
            return .finish
        default: throw Self.outOfTurn
        }
    }

    private func checkBackIsOpen() throws {
        guard isBackOpen else { throw Self.outOfTurn }
    }

    private static var outOfTurn: MigrationError { .unexpected("a message about memory out of turn") }

    /// Pages that a destination may keep at most: each costs this node memory.
    package static let mostHistory = 1 << 18

    /// The destination takes batches in their order, so that it can ask only for the first that it has not delivered, once.
    private mutating func repair(_ batch: UInt64) throws -> Action {
        guard batch == window.delivered, batch < window.sent, batch != repaired else {
            throw MigrationError.unexpected("batch \(batch) of memory is asked for again")
        }
        repaired = batch
        return .repair(batch: batch)
    }
}
