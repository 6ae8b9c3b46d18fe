import Index
import Migration
import Peer
import Site

/// Lends the images of this host's index to the other hosts of its site. Any thread may use it.
final class SiteLender: NeighbourLender {
    private let images: LentImages
    private let view: SiteView

    /// - Parameter directory: Path of the index.
    init(directory: String, view: SiteView) {
        images = LentImages(directory: directory)
        self.view = view
    }

    func isMember(_ host: String, _ peer: PeerIdentity) -> Bool {
        guard let record = view.record(of: host) else { return false }
        switch peer {
        case .certificate(let bytes): return record.certificates.contains(CertificateDigest.text(of: bytes))
        // Without TLS, the transport lets only those in whom the operator has allowed.
        case .address: return record.certificates.isEmpty
        }
    }

    func read(_ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int {
        images.read(table, into: buffer, at: offset)
    }
}
