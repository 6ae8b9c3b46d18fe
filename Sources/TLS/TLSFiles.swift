import Foundation

/// The files of a TLS server.
public struct TLSFiles: Sendable {
    let certificate: String
    let key: String
    /// Whose certificates clients may show; nil where none is asked for.
    let authority: String?
    /// Certificates that are no longer good.
    let revoked: String?
    /// Keys in common.
    let keys: String?
    /// Where they are; nil for files that were named one by one.
    public let directory: String?

    /// What a directory holds under the names that QEMU, libvirt and nbdkit use: `server-cert.pem` with
    /// `server-key.pem` for X.509, `ca-cert.pem` and `ca-crl.pem` to check clients, `keys.psk` for keys in common.
    public init(directory: String) {
        func path(_ name: String) -> String { (directory as NSString).appendingPathComponent(name) }
        certificate = path("server-cert.pem")
        key = path("server-key.pem")
        authority = path("ca-cert.pem")
        revoked = path("ca-crl.pem")
        keys = path("keys.psk")
        self.directory = directory
    }

    /// Files of any name, for X.509 only.
    public init(certificate: String, key: String, authority: String?) {
        self.certificate = certificate
        self.key = key
        self.authority = authority
        revoked = nil
        keys = nil
        directory = nil
    }

    /// Named files are meant to be there; of a directory's, only those count that are.
    var hasCertificate: Bool { directory == nil || Self.exists(certificate) }
    var hasKeys: Bool { keys.map(Self.exists) ?? false }
    var hasRevoked: Bool { revoked.map(Self.exists) ?? false }

    /// - Throws: `TLSError` where nothing is there to encrypt with.
    func check() throws {
        guard hasCertificate || hasKeys else {
            throw TLSError(
                "\(directory ?? "") has neither server-cert.pem with server-key.pem nor keys.psk: put one there")
        }
    }

    private static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
}
