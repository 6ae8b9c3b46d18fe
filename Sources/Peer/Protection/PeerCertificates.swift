import Foundation
import NIOCore
import NIOSSL

/// The certificates of the peer link, from a directory with the names that QEMU, libvirt and nbdkit use.
///
/// `ca-cert.pem` signs everybody. `server-cert.pem` with `server-key.pem` is for a node that takes disks in,
/// `client-cert.pem` with `client-key.pem` for one that gives disks away; a node that does one of the two needs only
/// that pair. The destination lets in whoever shows a certificate of the authority's; the source also wants it to name
/// the host or the address that it has been told to connect to.
public struct PeerCertificates: Sendable {
    /// How long the end of a connection waits for the peer to agree to it.
    private static let shutdownLimit = TimeAmount.seconds(1)

    private let directory: String
    private let serverContext: NIOSSLContext?
    private let clientContext: NIOSSLContext?

    /// Reads the files.
    /// - Throws: `PeerError.certificates`, which names the file.
    public init(directory: String) throws(PeerError) {
        self.directory = directory
        let authority = try Self.certificates("ca-cert.pem", in: directory)
        // What we can't honour must not look as if we did.
        guard !Self.exists("ca-crl.pem", in: directory) else {
            throw PeerError.certificates(
                "\(directory)/ca-crl.pem is there, and the peer link can't honour it; give the peer link a directory "
                    + "without it, and an authority of its own, with --peer-tls DIR")
        }
        if let (chain, key) = try Self.pair("server", in: directory) {
            let rules = TLSConfiguration.makeServerConfigurationWithMTLS(
                certificateChain: chain, privateKey: key, trustRoots: .certificates(authority))
            serverContext = try Self.context(rules, "server", in: directory)
        } else {
            serverContext = nil
        }
        if let (chain, key) = try Self.pair("client", in: directory) {
            var rules = TLSConfiguration.makeClientConfiguration()
            rules.certificateChain = chain
            rules.privateKey = key
            rules.trustRoots = .certificates(authority)
            rules.certificateVerification = .fullVerification
            clientContext = try Self.context(rules, "client", in: directory)
        } else {
            clientContext = nil
        }
    }

    /// What a node that is connected to uses.
    /// - Throws: `PeerError.certificates` where the directory has no files for that.
    func server() throws(PeerError) -> NIOSSLContext {
        guard let serverContext else { throw missing("server", for: "taking disks in") }
        return serverContext
    }

    /// What a node that connects uses.
    /// - Throws: `PeerError.certificates` where the directory has no files for that.
    func client() throws(PeerError) -> NIOSSLContext {
        guard let clientContext else { throw missing("client", for: "moving a disk from here") }
        return clientContext
    }

    private func missing(_ side: String, for purpose: String) -> PeerError {
        .certificates(
            "\(directory) has no \(side)-cert.pem with \(side)-key.pem, which \(purpose) needs: put them there")
    }

    private static func context(
        _ rules: TLSConfiguration, _ side: String, in directory: String
    ) throws(PeerError) -> NIOSSLContext {
        var rules = rules
        rules.minimumTLSVersion = .tlsv13
        rules.maximumTLSVersion = .tlsv13
        rules.shutdownTimeout = shutdownLimit
        do {
            return try NIOSSLContext(configuration: rules)
        } catch {
            throw PeerError.certificates(
                "the link to peers cannot use \(directory)/\(side)-cert.pem with \(side)-key.pem; is it the certificate's key?"
            )
        }
    }

    /// nil where neither file is there.
    private static func pair(
        _ side: String, in directory: String
    ) throws(PeerError) -> ([NIOSSLCertificateSource], NIOSSLPrivateKeySource)? {
        guard exists("\(side)-cert.pem", in: directory) || exists("\(side)-key.pem", in: directory) else { return nil }
        let chain = try certificates("\(side)-cert.pem", in: directory).map { NIOSSLCertificateSource.certificate($0) }
        let path = path("\(side)-key.pem", in: directory)
        var isAskedForPassphrase = false
        let key = try? NIOSSLPrivateKey(file: path, format: .pem) { (_: NIOSSLPassphraseSetter<[UInt8]>) in
            isAskedForPassphrase = true
        }
        guard !isAskedForPassphrase else {
            throw PeerError.certificates(
                "the key \(path) has a passphrase, and a node has nobody to ask for it; write it without one: "
                    + "openssl pkey -in \(path) -out NEW-KEY.pem")
        }
        guard let key else {
            throw PeerError.certificates(
                "the link to peers cannot use the key \(path): check that it is there, readable and PEM")
        }
        return (chain, .privateKey(key))
    }

    private static func certificates(_ name: String, in directory: String) throws(PeerError) -> [NIOSSLCertificate] {
        let path = path(name, in: directory)
        guard let found = try? NIOSSLCertificate.fromPEMFile(path), !found.isEmpty else {
            throw PeerError.certificates(
                "the link to peers cannot use the certificate \(path): check that it is there, readable and PEM")
        }
        return found
    }

    private static func exists(_ name: String, in directory: String) -> Bool {
        FileManager.default.fileExists(atPath: path(name, in: directory))
    }

    private static func path(_ name: String, in directory: String) -> String {
        (directory as NSString).appendingPathComponent(name)
    }
}
