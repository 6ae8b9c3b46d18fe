import Block
import Index
import NIOConcurrencyHelpers

/// The part of one node in its site: publishes its tables, follows the other hosts, and merges when it is its turn.
///
/// Any thread may use it. `renew` and `work` run beside each other, since other hosts must not wait for long work.
package final class SiteMember: Sendable {
    /// The facts about this node that its record tells.
    package struct Identity: Sendable {
        package var host: String
        /// As other hosts reach it, `HOST:PORT`.
        package var address: String
        /// Returns the SHA-256 of the certificate that the node shows now, in hexadecimal digits; nil without TLS.
        package var certificate: @Sendable () -> String?
        package var release: String
        /// Random number of the process.
        package var instance: UInt64

        package init(
            host: String, address: String, certificate: @escaping @Sendable () -> String?, release: String,
            instance: UInt64 = .random(in: 1 ... .max)
        ) {
            self.instance = instance
            self.host = host
            self.address = address
            self.certificate = certificate
            self.release = release
        }
    }

    /// The result of one turn.
    package struct Turn: Sendable, Equatable {
        /// Tables that were published or withdrawn.
        package var published = 0
        /// Tables that were damaged in the store, and were published again.
        package var mended: [String] = []
        /// Whether this host merges for the site.
        package var merges = false
        /// Hosts that were removed, because they have been gone for very long.
        package var removed: [String] = []
        /// One line for each thing that is wrong: which, why, and what to do.
        package var problems: [String] = []

        package init() {}
    }

    /// Tables of the other hosts, for look-ups, and the records of all hosts.
    package let view: SiteView

    private let presence: NIOLockedValueBox<SitePresence>
    private let latest = NIOLockedValueBox<(tables: SiteTables, heartbeats: Heartbeats)?>(nil)
    private let longWork: SiteWork
    private let memory = NIOLockedValueBox(SiteWork.Memory())

    /// Prepares to take part; the first `renew` joins the site, or makes it in an empty folder. Touches no file of the store.
    /// - Parameters:
    ///   - index: Path of this node's index.
    ///   - scratch: Path of a directory of this host for catalogues in the making; created if missing.
    ///   - makeReader: Makes the way to another host's images; nil if its record leads nowhere.
    /// - Throws: `SiteError`, `FileError`, and errors of the index.
    package init(
        store: SiteStore, identity: Identity, index: String, scratch: String,
        makeReader: @escaping @Sendable (HostRecord) -> (any NeighbourReader)?
    ) throws {
        guard HostName.isValid(identity.host) else { throw SiteError.invalidName(identity.host) }
        // A table in the store is the same as here, so the blocks must be of one size.
        let blockSize = try IndexStore(directory: index).blockSize
        try DurableFolder.make(scratch)
        let presence = SitePresence(
            store: store, identity: identity, scratch: scratch, blockSize: blockSize, makeReader: makeReader)
        view = presence.view
        self.presence = NIOLockedValueBox(presence)
        longWork = SiteWork(
            store: store, lease: presence.lease, host: identity.host, index: index, scratch: scratch)
    }

    /// Shows that this host is alive, and looks at the others: to be done at each `Heartbeats.interval`. Blocks for system
    /// calls on the store.
    package func renew() -> Turn {
        presence.withLockedValue { presence in
            let turn = presence.renew()
            latest.withLockedValue { $0 = presence.latest }
            return turn
        }
    }

    /// Publishes tables, and makes catalogues. Blocks for as long as that takes; one call at a time. Does nothing before the
    /// first `renew` has found the site.
    /// - Parameter isWanted: Asked now and then, on any thread, whether to go on.
    package func work(isWanted: @escaping @Sendable () -> Bool = { true }) -> Turn {
        guard let (tables, heartbeats) = latest.withLockedValue({ $0 }) else { return Turn() }
        // Renewals go on beside the work.
        let newest = { [latest] in latest.withLockedValue { $0?.heartbeats } ?? heartbeats }
        return memory.withLockedValue { longWork.run(after: tables, newest, &$0, isWanted) }
    }

    /// Lets another host merge at once.
    package func leave() { presence.withLockedValue { $0.leave() } }
}
