import Logging
import NIOConcurrencyHelpers
import Peer
import PeerModel

/// The other hosts of the site, for disks that arrive here: what comes over the link to one host need not come to another.
/// It is only advice: a block is hashed before it is used (invariant 4), and in any doubt the source is asked. Any thread
/// may use it.
package final class SiteArrivals: Sendable {
    /// Another host that is alive.
    package struct Host: Sendable {
        package let name: String
        package let address: PeerAddress

        package init(name: String, address: PeerAddress) {
            self.name = name
            self.address = address
        }
    }

    /// The time for which a host that has asked counts as one at which disks arrive.
    private static let fresh = Duration.seconds(60)

    private let ownHost: String
    private let transport: PeerTransport
    private let logger: Logger
    private let findHosts: @Sendable () -> [Host]
    /// The limits of waiting, for each disk that arrives here.
    let limits: ArrivalBudget.Limits
    /// The clock by which waits are measured.
    let now: @Sendable () -> ContinuousClock.Instant
    private let heard = NIOLockedValueBox<[String: ContinuousClock.Instant]>([:])

    /// - Parameters:
    ///   - ownHost: Name of this host.
    ///   - hosts: Finds the other hosts that are alive.
    package convenience init(
        ownHost: String, transport: PeerTransport, logger: Logger, hosts: @escaping @Sendable () -> [Host]
    ) {
        self.init(
            ownHost: ownHost, transport: transport, logger: logger, limits: ArrivalBudget.Limits(), now: { .now },
            hosts: hosts)
    }

    init(
        ownHost: String, transport: PeerTransport, logger: Logger, limits: ArrivalBudget.Limits,
        now: @escaping @Sendable () -> ContinuousClock.Instant, hosts: @escaping @Sendable () -> [Host]
    ) {
        self.limits = limits
        self.now = now
        self.ownHost = ownHost
        self.transport = transport
        self.logger = logger
        findHosts = hosts
    }

    /// Another host has asked: a disk arrives there.
    func hear(_ host: String) { heard.withLockedValue { $0[host] = .now } }

    /// The hosts to ask at the beginning: all that are alive.
    var hosts: [Host] { findHosts() }

    /// The hosts at which a disk has begun to arrive lately.
    var asking: [Host] {
        let names = heard.withLockedValue { heard in
            heard = heard.filter { .now - $0.value < Self.fresh }
            return heard
        }
        return names.isEmpty ? [] : findHosts().filter { names[$0.name] != nil }
    }

    /// Says that a host is not asked any more for one disk.
    func giveUp(_ host: String, because reason: String) {
        logger.notice(
            "a disk that arrives here does not ask those at the host '\(host)' any more: \(reason)")
    }

    func connect(to host: Host) -> ArrivalPeer {
        ArrivalPeer(
            host: host.name, address: host.address, ownHost: ownHost, transport: transport, logger: logger)
    }
}
