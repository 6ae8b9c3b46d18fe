import Foundation
import Index
import Migration
import MigrationProtocol
import Peer
import PeerModel
import Site

/// Taking part in a site.
extension Node {
    /// Joins the site of the configuration, before peers are let in.
    /// - Parameter listening: The address for peers, with the port that the kernel chose.
    /// - Returns: The member; nil if there is no site.
    /// - Throws: `NodeError` if an option is missing; `SiteError`, `FileError`.
    func joinSite(listensOn listening: PeerAddress) throws -> SiteMember? {
        let site = configuration.site
        guard let store = site.store else { return nil }
        guard let index = configuration.index else {
            throw NodeError.missingOption("--site", needs: "--index DIR, the index of this host's images")
        }
        let address = site.address ?? listening
        guard address.isWellFormed, !address.isWildcard else {
            throw NodeError.missingOption(
                "--site", needs: "--site-address HOST:PORT, as the other hosts reach \(address)")
        }
        let host = ownHost
        let certificate: @Sendable () -> String? = { [transport] in
            guard case .tls(let certificates) = transport.protection else { return nil }
            return certificates.clientCertificate.map(CertificateDigest.text)
        }
        let identity = SiteMember.Identity(
            host: host, address: address.description, certificate: certificate, release: Release.version,
            // Each of two nodes with one name knows its own record by it.
            instance: opener.disks?.owner.instance ?? .random(in: 1 ... .max))
        return try SiteMember(
            store: SiteStore(naming: store), identity: identity, index: index, scratch: "\(configuration.state)/site"
        ) { [transport, peerLogger] record in
            guard let address = PeerAddress(record.address), address.isWellFormed else { return nil }
            return RemoteNeighbours(
                host: record.host, ownHost: host, address: address, transport: transport, logger: peerLogger)
        }
    }

    /// Name of this host in the site.
    private var ownHost: String { configuration.site.host ?? ProcessInfo.processInfo.hostName }

    /// Finds disks that arrive at other hosts.
    func arrivals(in site: SiteMember) -> SiteArrivals {
        SiteArrivals(ownHost: ownHost, transport: transport, logger: peerLogger) {
            site.view.others.compactMap { record in
                guard let address = PeerAddress(record.address), address.isWellFormed else { return nil }
                return SiteArrivals.Host(name: record.host, address: address)
            }
        }
    }

    /// Waits until the site has been left, but not for a store that does not answer: its thread then stays behind.
    func leaveSite() async {
        guard let siteTask else { return }
        siteTask.cancel()
        let hasEnded = WatchedValue(false)
        Task {
            await siteTask.value
            hasEnded.withLockedValue { $0 = true }
        }
        _ = await hasEnded.wait(until: { $0 }, atMost: .seconds(5))
    }
}
