import PeerModel

/// The site to which a node belongs.
package struct SiteConfiguration: Sendable, Equatable {
    /// Path of the folder that all hosts share; nil for no site.
    package var store: String?
    /// Name of this host in the site; nil for the machine's name.
    package var host: String?
    /// Address for peers as other hosts reach it; nil for the one on which the node listens.
    package var address: PeerAddress?
    /// Limit of all that is lent to other hosts; nil for none.
    package var bytesPerSecond: UInt64?

    package init() {}
}
