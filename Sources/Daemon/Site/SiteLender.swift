import Hashing
import Index
import Migration
import NIOConcurrencyHelpers
import Peer
import Site

/// Lends the images of this host's index to the other hosts of its site. Any thread may use it.
final class SiteLender: NeighbourLender {
    /// The time after which the index is opened again: images come and go.
    private static let keptFor = Duration.seconds(10)

    private struct Opened {
        var index: NeighbourIndex?
        var until: ContinuousClock.Instant?
    }

    private let directory: String
    private let view: SiteView
    private let opened = NIOLockedValueBox(Opened())

    /// - Parameter directory: Path of the index.
    init(directory: String, view: SiteView) {
        self.directory = directory
        self.view = view
    }

    func isMember(_ host: String, _ peer: PeerIdentity) -> Bool {
        guard let record = view.record(of: host) else { return false }
        switch peer {
        case .certificate(let bytes): return record.certificate == CertificateDigest.text(of: bytes)
        // Without TLS, the transport lets only those in whom the operator has allowed.
        case .address: return record.certificate == nil
        }
    }

    func read(_ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int {
        index()?.read(table, into: buffer, at: offset) ?? 0
    }

    private func index() -> NeighbourIndex? {
        opened.withLockedValue { opened in
            if let until = opened.until, .now < until { return opened.index }
            opened.index = try? NeighbourIndex.open(directory: directory)
            opened.until = .now + Self.keptFor
            return opened.index
        }
    }
}
