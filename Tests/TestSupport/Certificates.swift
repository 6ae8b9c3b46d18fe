import Foundation
import Synchronization

/// Certificate authorities, certificates and keys of one test, made with openssl.
package final class Certificates: Sendable {
    /// The contents of a certificate.
    package struct Leaf: Sendable {
        let authority: String
        let names: String
        let isExpired: Bool

        /// - Parameter names: the value of subjectAltName.
        package init(authority: String = "ca", names: String = "DNS:localhost,IP:127.0.0.1", isExpired: Bool = false) {
            self.authority = authority
            self.names = names
            self.isExpired = isExpired
        }
    }

    private let scratch = Scratch()
    /// The names of authorities that are no roots.
    private let subordinates = Mutex<Set<String>>([])

    /// Makes the authorities.
    package init(authorities: [String] = ["ca", "stranger"]) async throws {
        for name in authorities {
            try await openssl(
                ["req", "-x509"] + Self.newKey + [
                    "-days", "2", "-subj", "/CN=\(name)", "-keyout", path(name, "key"), "-out", path(name, "cert"),
                ])
        }
    }

    /// Makes a directory with the file names of QEMU, libvirt and nbdkit; nil leaves the pair out.
    /// - Parameter authority: the authority that the directory's owner trusts.
    package func directory(
        authority: String = "ca", server: Leaf? = Leaf(), client: Leaf? = Leaf()
    ) async throws -> String {
        let directory = scratch.file("set-\(UInt64.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try await fill(directory, authority: authority, server: server, client: client)
        return directory
    }

    /// Replaces the files of an existing directory.
    package func fill(
        _ directory: String, authority: String = "ca", server: Leaf? = Leaf(), client: Leaf? = Leaf()
    ) async throws {
        let trusted = try Data(contentsOf: URL(fileURLWithPath: path(authority, "cert")))
        try trusted.write(to: URL(fileURLWithPath: "\(directory)/ca-cert.pem"))
        if let server { try await issue(server, to: "\(directory)/server") }
        if let client { try await issue(client, to: "\(directory)/client") }
    }

    private func issue(_ leaf: Leaf, to stem: String) async throws {
        let request = "\(stem).csr"
        try await openssl(
            ["req"] + Self.newKey + ["-subj", "/CN=localhost", "-keyout", "\(stem)-key.pem", "-out", request])
        try Data("subjectAltName=\(leaf.names)\n".utf8).write(to: URL(fileURLWithPath: "\(stem).ext"))
        try await openssl([
            "x509", "-req", "-in", request, "-CA", path(leaf.authority, "cert"), "-CAkey", path(leaf.authority, "key"),
            "-CAcreateserial", "-days", leaf.isExpired ? "-1" : "2", "-extfile", "\(stem).ext",
            "-out", "\(stem)-cert.pem",
        ])
        guard subordinates.withLock({ $0.contains(leaf.authority) }) else { return }
        let chain = try ["\(stem)-cert.pem", path(leaf.authority, "cert")].map {
            try Data(contentsOf: URL(fileURLWithPath: $0))
        }
        try (chain[0] + chain[1]).write(to: URL(fileURLWithPath: "\(stem)-cert.pem"))
    }

    /// Makes an authority whose certificate another one has signed. Those that it signs come with its own.
    package func makeSubordinate(_ name: String, of superior: String) async throws {
        let request = scratch.file("\(name).csr")
        try await openssl(
            ["req"] + Self.newKey + ["-subj", "/CN=\(name)", "-keyout", path(name, "key"), "-out", request])
        let extensions = try scratch.write(Array("basicConstraints=critical,CA:TRUE\n".utf8), to: "\(name).ext")
        try await openssl([
            "x509", "-req", "-in", request, "-CA", path(superior, "cert"), "-CAkey", path(superior, "key"),
            "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", path(name, "cert"),
        ])
        subordinates.withLock { _ = $0.insert(name) }
    }

    /// The certificate of an authority.
    package func certificate(of authority: String) -> String { path(authority, "cert") }

    /// Makes a list of revoked certificates, in PEM.
    /// - Parameter revoked: the files of the certificates.
    package func revocationList(
        of authority: String = "ca", revoked: [String], isOutOfDate: Bool = false
    ) async throws -> Data {
        let stem = scratch.file("list-\(UInt64.random(in: 0 ... .max))")
        try Data().write(to: URL(fileURLWithPath: "\(stem).db"))
        let settings = "[ca]\ndefault_ca = d\n[d]\ndatabase = \(stem).db\ndefault_md = sha256\ndefault_crl_days = 2\n"
        try Data(settings.utf8).write(to: URL(fileURLWithPath: "\(stem).cnf"))
        let base = [
            "ca", "-config", "\(stem).cnf", "-keyfile", path(authority, "key"), "-cert", path(authority, "cert"),
        ]
        for certificate in revoked { try await openssl(base + ["-revoke", certificate]) }
        let old = ["-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200102000000Z"]
        try await openssl(base + ["-gencrl", "-out", "\(stem).pem"] + (isOutOfDate ? old : []))
        return try Data(contentsOf: URL(fileURLWithPath: "\(stem).pem"))
    }

    private static let newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    private func path(_ authority: String, _ kind: String) -> String { scratch.file("\(authority)-\(kind).pem") }

    private func openssl(_ arguments: [String]) async throws {
        let result = try await Command.run("openssl", arguments)
        guard result.status == 0 else { throw Failure(description: "openssl \(arguments): \(result.errors)") }
    }

    private struct Failure: Error, CustomStringConvertible {
        let description: String
    }
}
