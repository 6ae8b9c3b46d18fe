import Migration
import MigrationProtocol
import PeerModel

/// Arguments of `nearblock memory`.
public struct MemoryCommand: Codable, Sendable {
    /// Names of the guest's disks, which both nodes serve; empty to compare its memory with none.
    public var exports: [String]
    /// Address of the destination.
    public var destination: PeerAddress
    /// The guest.
    public var memory: MemoryRequest
    /// Limit in bits a second, at least 1; nil for no limit.
    public var rate: UInt64?

    /// Creates a command; `validate` checks it.
    public init(exports: [String], destination: PeerAddress, memory: MemoryRequest, rate: UInt64?) {
        self.exports = exports
        self.destination = destination
        self.memory = memory
        self.rate = rate
    }

    /// Checks the numbers and names.
    /// - Throws: `NodeError` for the first one that is not allowed.
    func validate() throws {
        try memory.validate()
        guard Set(exports).count == exports.count else { throw NodeError.unusable("name each export once") }
        guard exports.count <= MemoryOffer.maximumDisks else {
            throw NodeError.unusable("a guest may have at most \(MemoryOffer.maximumDisks) disks")
        }
        guard rate != 0 else {
            throw NodeError.unusable("a rate of 0 would never end; give at least 1 bit a second")
        }
    }
}
