import Foundation

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
