import Foundation

/// The names that QEMU, libvirt and nbdkit give to the files of a TLS server.
struct TLSFiles {
    let authority: String
    let revoked: String
    let certificate: String
    let key: String
    let keys: String

    init(directory: String) {
        let directory = directory as NSString
        authority = directory.appendingPathComponent("ca-cert.pem")
        revoked = directory.appendingPathComponent("ca-crl.pem")
        certificate = directory.appendingPathComponent("server-cert.pem")
        key = directory.appendingPathComponent("server-key.pem")
        keys = directory.appendingPathComponent("keys.psk")
    }

    var hasCertificate: Bool { FileManager.default.fileExists(atPath: certificate) }
    var hasKeys: Bool { FileManager.default.fileExists(atPath: keys) }
}
