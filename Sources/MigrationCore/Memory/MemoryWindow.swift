import MigrationProtocol
import PeerModel

/// Bounds what the source has taken from its hypervisor and the destination has not given to its own.
///
/// QEMU works out its downtime from what it could write. So the bound is what the link carries in one round trip and
/// `queueing`, compressed. Whatever waits beyond that would add to the downtime without QEMU's knowledge.
package struct MemoryWindow: Sendable {
    /// Time for which data may wait for the link beside the round trip.
    private static let queueing = Duration.milliseconds(50)
    /// Bytes on the link that may always be under way: until the link's rate is known, and on slow links.
    private static let leastOnLink: UInt64 = 128 << 10
    /// Bytes of the stream, which both nodes hold. Found pages take next to nothing on the link.
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
    /// - Parameter path: TCP's state of the link, whose rate is at most the operator's limit; nil if unknown.
    package func mayTake(over path: PathState?) -> Bool {
        batches.count < Self.mostBatches && stream < Self.mostStream && onLink < Self.limit(on: path)
    }

    private static func limit(on path: PathState?) -> UInt64 {
        guard let path else { return leastOnLink }
        let milliseconds = min(max(0, (path.shortestRoundTrip + queueing) / .milliseconds(1)), 1e6)
        return max(leastOnLink, path.bytesPerSecond.multipliedClamped(by: UInt64(milliseconds)) / 1000)
    }
}
