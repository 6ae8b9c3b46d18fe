import TLS

/// The certificates of the peer link, from a directory with the names that QEMU, libvirt and nbdkit use.
///
/// `ca-cert.pem` signs everybody, and `ca-crl.pem`, if it is there, lists those who are no longer trusted. A node that
/// takes disks in needs `server-cert.pem` and `server-key.pem`. One that gives disks away needs `client-cert.pem` and
/// `client-key.pem`. The destination accepts any peer with a certificate of the authority. The source also requires
/// that the certificate names the host or address that it connects to.
public struct PeerCertificates: Sendable {
    private let directory: String
    private let serverContext: TLSContext
    private let clientContext: TLSContext

    /// Reads the files.
    /// - Throws: `PeerError.certificates`, which names the file.
    public init(directory: String) throws(PeerError) {
        self.directory = directory
        do {
            serverContext = try TLSContext(mutual: TLSFiles(directory: directory, side: .server), side: .server)
            clientContext = try TLSContext(mutual: TLSFiles(directory: directory, side: .client), side: .client)
        } catch {
            throw PeerError.certificates("\(error)")
        }
    }

    /// The ends of validity of the certificates of each side that can be used.
    public var expiries: [(side: TLSSide, expiry: CertificateExpiry)] {
        [serverContext, clientContext].filter(\.hasCertificate).map { ($0.side, $0.expiry) }
    }

    /// The certificate that a node shows where it connects, in DER; nil if there is none.
    package var clientCertificate: [UInt8]? { clientContext.certificate }

    /// Returns what a node that is connected to uses.
    /// - Throws: `PeerError.certificates` where the directory has no files for that.
    func server() throws(PeerError) -> TLSContext {
        try complete(serverContext, for: "taking disks in")
    }

    /// Returns what a node that connects uses.
    /// - Throws: `PeerError.certificates` where the directory has no files for that.
    func client() throws(PeerError) -> TLSContext {
        try complete(clientContext, for: "moving a disk from here")
    }

    private func complete(_ context: TLSContext, for purpose: String) throws(PeerError) -> TLSContext {
        let side = context.side.rawValue
        guard context.hasCertificate else {
            throw PeerError.certificates(
                "\(directory) has no \(side)-cert.pem with \(side)-key.pem, which \(purpose) needs: put them there")
        }
        return context
    }
}
