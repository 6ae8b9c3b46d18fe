import Block
import Index
import NIOConcurrencyHelpers

/// The part of one node in its site: publishes its tables, follows the other hosts, and merges when it is its turn.
///
/// Any thread may use it. A turn blocks its thread, and other turns.
package final class SiteMember: Sendable {
    /// The facts about this node that its record tells.
    package struct Identity: Sendable {
        package var host: String
        /// As other hosts reach it, `HOST:PORT`.
        package var address: String
        /// As `HostRecord.certificate`.
        package var certificate: String?
        package var release: String

        package init(host: String, address: String, certificate: String?, release: String) {
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
        /// Whether this host merges for the site.
        package var merges = false
        /// Hosts that were removed, because they have been gone for very long.
        package var removed: [String] = []
        /// One line for each thing that is wrong: which, why, and what to do.
        package var problems: [String] = []

        package init() {}
    }

    /// What the other hosts have, for look-ups, and the records of all hosts.
    package let view: SiteView

    private let work: NIOLockedValueBox<SiteWork>

    /// Joins a site, and makes it in an empty folder. Blocks for some system calls.
    /// - Parameters:
    ///   - index: Path of this node's index.
    ///   - scratch: Path of a directory of this host for catalogues in the making; created if missing.
    ///   - makeReader: Makes the way to another host's images; nil if its record leads nowhere.
    /// - Throws: `SiteError`, `FileError`.
    package init(
        store: SiteStore, identity: Identity, index: String, scratch: String,
        makeReader: @escaping @Sendable (HostRecord) -> (any NeighbourReader)?
    ) throws {
        let work = try SiteWork(
            store: store, identity: identity, index: index, scratch: scratch, makeReader: makeReader)
        view = work.view
        self.work = NIOLockedValueBox(work)
    }

    /// Does once what a member does every `Heartbeats.interval`. Blocks for as long as tables are copied and catalogues
    /// made.
    /// - Parameter isWanted: Asked now and then, on any thread, whether to go on.
    package func turn(isWanted: @escaping @Sendable () -> Bool = { true }) -> Turn {
        work.withLockedValue { $0.turn(isWanted) }
    }

    /// Lets another host merge at once.
    package func leave() { work.withLockedValue { $0.leave() } }
}
