import Monitoring
import NBDServer
import Peer
import TLS

/// The ends of validity of the certificates in use.
struct CertificateMetrics {
    private var expiry = MetricFamily(
        "nearblock_certificate_expiry_timestamp_seconds", .gauge,
        "End of validity of a certificate in use, in seconds since 1970.")

    init(server: ServerTLS?, peers: PeerProtection) {
        if let server { add(server.context.expiry, use: "nbd-server") }
        guard case .tls(let certificates) = peers else { return }
        for (side, expiry) in certificates.expiries { add(expiry, use: "peer-\(side.rawValue)") }
    }

    private mutating func add(_ ends: CertificateExpiry, use: String) {
        if let own = ends.own { expiry.add(["use": use, "certificate": "own"], .number(Double(own))) }
        if let authority = ends.authority {
            expiry.add(["use": use, "certificate": "authority"], .number(Double(authority)))
        }
    }

    var families: [MetricFamily] { [expiry] }
}
