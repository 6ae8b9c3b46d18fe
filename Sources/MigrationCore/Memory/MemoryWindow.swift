import MigrationProtocol
import PeerModel

/// Bounds what the source has taken from its hypervisor and the destination has not given to its own.
///
/// QEMU works out its downtime from what it could write. So the bound is what the link carries in one round trip and
/// `Limits.queueing`, compressed. Whatever waits beyond that would add to the downtime without QEMU's knowledge. In
/// post-copy, a page that the guest waits for would come behind it.
package struct MemoryWindow: Sendable {
    private struct Limits {
        /// Time for which data may wait for the link beside the round trip.
        let queueing: Duration
        /// Bytes on the link that may always be under way: until the link's rate is known, and on slow links.
        let leastOnLink: UInt64
        /// Bytes of the stream, which both nodes hold. Found pages take next to nothing on the link, but have to be read.
        let stream: UInt64
    }

    private static let preCopy = Limits(queueing: .milliseconds(50), leastOnLink: 128 << 10, stream: mostStream)
    private static let postCopy = Limits(queueing: .milliseconds(10), leastOnLink: 64 << 10, stream: 4 << 20)
    /// Bytes of the stream under way, at any stage.
    package static let mostStream: UInt64 = 24 << 20
    /// Batches under way: each costs both nodes some memory, however small it is.
    package static let mostBatches = 1024

    private struct Batch {
        let stream: UInt64
        let onLink: UInt64
    }

    private var batches: [Batch] = []
    /// Batches that were sent, and that were delivered.
    package private(set) var sent: UInt64 = 0
    package private(set) var delivered: UInt64 = 0
    private var stream: UInt64 = 0
    private var onLink: UInt64 = 0

    package init() {}

    /// Records a batch that goes to the link.
    /// - Parameters:
    ///   - stream: bytes of the stream in it.
    ///   - onLink: bytes that it takes on the link.
    package mutating func send(stream: UInt64, onLink: UInt64) {
        batches.append(Batch(stream: stream, onLink: onLink))
        sent += 1
        self.stream += stream
        self.onLink += onLink
    }

    /// Records that the destination has delivered the first batches of the stream.
    /// - Throws: `MigrationError.unexpected` if it names fewer than before, or more than were sent.
    package mutating func deliver(upTo count: UInt64) throws {
        guard count >= delivered, count <= sent else {
            throw MigrationError.unexpected("\(count) delivered batches of memory, of \(sent)")
        }
        let newly = Int(count - delivered)
        for batch in batches[..<newly] {
            stream -= batch.stream
            onLink -= batch.onLink
        }
        batches.removeFirst(newly)
        delivered = count
    }

    /// Whether everything that was sent has been delivered.
    package var isEmpty: Bool { batches.isEmpty }

    /// Whether more may be taken from the hypervisor.
    /// - Parameters:
    ///   - path: TCP's state of the link, whose rate is at most the operator's limit; nil if unknown.
    ///   - stage: that of the stream.
    package func mayTake(over path: PathState?, at stage: MemoryStage = .preCopy) -> Bool {
        let limits = stage == .preCopy ? Self.preCopy : Self.postCopy
        return batches.count < Self.mostBatches && stream < limits.stream && onLink < Self.onLink(path, limits)
    }

    private static func onLink(_ path: PathState?, _ limits: Limits) -> UInt64 {
        guard let path else { return limits.leastOnLink }
        let milliseconds = min(max(0, (path.shortestRoundTrip + limits.queueing) / .milliseconds(1)), 1e6)
        return max(limits.leastOnLink, path.bytesPerSecond.multipliedClamped(by: UInt64(milliseconds)) / 1000)
    }
}
