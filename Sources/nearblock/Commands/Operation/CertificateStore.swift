import Foundation
import TLS

/// The directory in which `nearblock certificates make` works: one directory for the authority, and one for each host.
struct CertificateStore {
    static let authorityFolder = "ca"
    private static let publicMode: mode_t = 0o644
    private static let secretMode: mode_t = 0o600

    let directory: String

    var authorityPath: String { "\(directory)/\(Self.authorityFolder)" }

    /// - Throws: `CommandFailure` if the host has a directory.
    func checkIsNew(_ host: String) throws {
        var info = stat()
        guard lstat("\(directory)/\(host)", &info) != 0 else {
            throw CommandFailure(
                reason:
                    "\(directory)/\(host) is there already, and is not overwritten; move it away to have a new one made"
            )
        }
    }

    /// Reads the authority, or makes one if its directory is missing.
    func authority() throws -> (CertificateAuthority, isNew: Bool) {
        var info = stat()
        if lstat(authorityPath, &info) == 0 {
            let read = try CertificateAuthority(
                certificate: "\(authorityPath)/ca-cert.pem", key: "\(authorityPath)/ca-key.pem")
            return (read, false)
        }
        let made = try CertificateAuthority(name: "nearblock authority")
        let pem = try made.pem()
        try write(
            [("ca-cert.pem", pem.certificate, Self.publicMode), ("ca-key.pem", pem.key, Self.secretMode)],
            to: authorityPath, mode: 0o700)
        return (made, true)
    }

    /// Makes the directory of a host, complete or not at all.
    /// - Returns: Its path.
    func makeDirectory(for host: [CertificateHost], by authority: CertificateAuthority, days: Int) throws -> String {
        var files = [("ca-cert.pem", try authority.pem().certificate, Self.publicMode)]
        for side in [TLSSide.server, .client] {
            let pem = try authority.issue(side, to: host, days: days)
            files.append(("\(side.rawValue)-cert.pem", pem.certificate, Self.publicMode))
            files.append(("\(side.rawValue)-key.pem", pem.key, Self.secretMode))
        }
        let path = "\(directory)/\(host[0].text)"
        try write(files, to: path, mode: 0o755)
        return path
    }

    private func write(_ files: [(name: String, bytes: [UInt8], mode: mode_t)], to path: String, mode: mode_t) throws {
        try? FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        var template = Array("\(directory)/.new-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw failure("make a directory in", directory) }
        let temporary = String(cString: made)
        do {
            for file in files { try write(file.bytes, to: "\(temporary)/\(file.name)", mode: file.mode) }
            guard chmod(temporary, mode) == 0 else { throw failure("set the mode of", temporary) }
            // Replaces nothing but an empty directory.
            guard rename(temporary, path) == 0 else { throw failure("make", path) }
        } catch {
            try? FileManager.default.removeItem(atPath: temporary)
            throw error
        }
    }

    private func write(_ bytes: [UInt8], to path: String, mode: mode_t) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, Self.secretMode)
        guard descriptor >= 0 else { throw failure("write", path) }
        defer { close(descriptor) }
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count, fchmod(descriptor, mode) == 0,
            fsync(descriptor) == 0
        else { throw failure("write", path) }
    }

    private func failure(_ what: String, _ path: String) -> CommandFailure {
        CommandFailure(
            reason: "cannot \(what) \(path): \(String(cString: strerror(errno))); give another --directory DIR")
    }
}
