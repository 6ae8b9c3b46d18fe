import Block
import MigrationProtocol

/// The disks that came here and have moved on to another node, and the connections over which requests for them are forwarded
/// here. Pure.
struct Chains {
    /// A disk that has moved on.
    struct Onward {
        let disk: Disk
        /// Carries its requests on.
        let link: ForwardLink
        /// The node that has it; nil until that lets the nodes in that forward here.
        var successor: Successor?
    }

    private struct Listener {
        let migration: MigrationID
        let continuation: AsyncStream<Successor>.Continuation
    }

    private var onward: [ObjectIdentifier: Onward] = [:]
    private var listeners: [UInt64: Listener] = [:]
    private var nextListener: UInt64 = 0

    /// The link of a disk that has moved on; nil for one that has not.
    func link(of disk: Disk) -> ForwardLink? { onward[ObjectIdentifier(disk)]?.link }

    /// Adds a disk that has moved on.
    mutating func left(_ disk: Disk, over link: ForwardLink) {
        onward[ObjectIdentifier(disk)] = Onward(disk: disk, link: link)
    }

    /// Removes a disk that is served here, again or for the first time.
    mutating func arrived(_ disk: Disk) { onward[ObjectIdentifier(disk)] = nil }

    /// Tells listeners that the node that has a disk now lets in the sources of `migrations`.
    mutating func accepted(_ disk: Disk, by successor: Successor, over link: ForwardLink, _ migrations: [MigrationID]) {
        guard onward[ObjectIdentifier(disk)]?.link === link else { return }
        onward[ObjectIdentifier(disk)]?.successor = successor
        for listener in listeners.values where migrations.contains(listener.migration) {
            listener.continuation.yield(successor)
        }
    }

    /// Adds a listener for the successors of the disk of a migration.
    /// - Returns: a number for `ended`, and each successor as it becomes known.
    mutating func listen(_ migration: MigrationID, of disk: Disk?) -> (UInt64, AsyncStream<Successor>) {
        let (stream, continuation) = AsyncStream.makeStream(of: Successor.self, bufferingPolicy: .bufferingNewest(1))
        defer { nextListener += 1 }
        listeners[nextListener] = Listener(migration: migration, continuation: continuation)
        if let successor = disk.flatMap({ onward[ObjectIdentifier($0)]?.successor }) { continuation.yield(successor) }
        return (nextListener, stream)
    }

    /// Removes a listener.
    mutating func ended(_ listener: UInt64) { listeners[listener] = nil }

    /// Ends all listening: the node ends.
    mutating func stop() {
        for listener in listeners.values { listener.continuation.finish() }
        listeners = [:]
        onward = [:]
    }
}
