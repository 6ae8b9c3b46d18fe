import Foundation
import PeerModel
import Site

/// The site to which a node belongs.
package struct SiteConfiguration: Sendable, Equatable {
    /// The folder that all hosts share, or `rados:POOL[/NAMESPACE]`; nil for no site.
    package var store: String?
    /// Name of this host in the site; nil for the machine's name.
    package var host: String?
    /// Address for peers as other hosts reach it; nil for the one on which the node listens.
    package var address: PeerAddress?
    /// Limit of all that is lent to other hosts; nil for none.
    package var bytesPerSecond: UInt64?

    package init() {}

    /// The name of this host in the site.
    var hostName: String { host ?? ProcessInfo.processInfo.hostName }

    /// The disks of the site on RBD images; nil where the store keeps none. Connects to nothing.
    /// - Parameter state: Path of the state directory; nil if another node may use it.
    /// - Throws: `SiteError.invalidStore`, `FileError`.
    func disks(state: String?) throws -> (register: DiskRegister, owner: DiskOwner)? {
        guard let store, store.hasPrefix("rados:") else { return nil }
        let home = try state.map { try DiskHome.number(in: $0) } ?? .random(in: 1 ... .max)
        return (try DiskRegister(of: SiteStore(naming: store)), DiskOwner(host: hostName, home: home))
    }
}
