/// The record of one host in a site's store. Its node writes it again every few seconds.
package struct HostRecord: Codable, Sendable, Equatable {
    /// The version that this release writes; it reads no other.
    package static let currentVersion = 1

    package var version = currentVersion
    /// Name of the host; the same as that of its folder.
    package var host: String
    /// The node's address for peers, `HOST:PORT`, as the other hosts reach it.
    package var address: String
    /// Random number of the process that writes the record.
    package var instance: UInt64
    /// Grows with each writing. A record that stays the same is that of a node that is gone.
    package var beat: UInt64
    /// SHA-256 of each certificate that the node shows to others, in hexadecimal digits; none without TLS. After a reload
    /// there is the one before as well.
    package var certificates: [String]
    /// The node's release.
    package var release: String

    package init(
        host: String, address: String, instance: UInt64, beat: UInt64 = 0, certificates: [String], release: String
    ) {
        self.host = host
        self.address = address
        self.instance = instance
        self.beat = beat
        self.certificates = certificates
        self.release = release
    }
}
