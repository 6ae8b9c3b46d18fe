import Foundation

/// The files of a server or client that uses TLS.
public struct TLSFiles: Sendable {
    let certificate: String
    let key: String
    /// The authorities whose certificates the other side may show; nil where none is asked for.
    let authority: String?
    /// The revocation lists of these authorities; nil where there can be none.
    let revoked: String?
    /// Preshared keys; nil where there can be none.
    let keys: String?
    /// The directory of the files; nil for files that were named one by one.
    public let directory: String?

    /// Names the files of a server in a directory, as QEMU, libvirt and nbdkit do. `server-cert.pem` and
    /// `server-key.pem` are for X.509, `ca-cert.pem` and `ca-crl.pem` check clients, `keys.psk` has preshared keys.
    public init(directory: String) {
        self.init(directory: directory, side: .server, hasKeys: true)
    }

    /// Names the files of one side of a link in which both show certificates: `server-cert.pem` with `server-key.pem` or
    /// `client-cert.pem` with `client-key.pem`, `ca-cert.pem`, and `ca-crl.pem`.
    public init(directory: String, side: TLSSide) {
        self.init(directory: directory, side: side, hasKeys: false)
    }

    private init(directory: String, side: TLSSide, hasKeys: Bool) {
        func path(_ name: String) -> String { (directory as NSString).appendingPathComponent(name) }
        certificate = path("\(side.rawValue)-cert.pem")
        key = path("\(side.rawValue)-key.pem")
        authority = path("ca-cert.pem")
        revoked = path("ca-crl.pem")
        keys = hasKeys ? path("keys.psk") : nil
        self.directory = directory
    }

    /// Names files anywhere, for X.509 only.
    public init(certificate: String, key: String, authority: String?) {
        self.certificate = certificate
        self.key = key
        self.authority = authority
        revoked = nil
        keys = nil
        directory = nil
    }

    /// Whether there is a certificate to show. Named files are meant to be there; of a directory's, only those count that
    /// are.
    var hasCertificate: Bool { directory == nil || Self.exists(certificate) }
    /// Whether there is a certificate or a key, of which each needs the other.
    var hasCertificateOrKey: Bool { hasCertificate || Self.exists(key) }
    var hasKeys: Bool { keys.map(Self.exists) ?? false }
    var hasRevoked: Bool { revoked.map(Self.exists) ?? false }

    /// - Throws: `TLSError` where nothing is there to encrypt with.
    func check() throws {
        guard hasCertificate || hasKeys else {
            throw TLSError(
                "\(directory ?? "") has neither server-cert.pem with server-key.pem nor keys.psk: put one there")
        }
    }

    /// Whether the directory has an entry of that name. A link that leads nowhere counts: a revocation list that can't be
    /// read must be an error, and not a list that is not there.
    private static func exists(_ path: String) -> Bool {
        (try? FileManager.default.attributesOfItem(atPath: path)) != nil
    }
}
