import COpenSSL
import Glibc

/// Checks a directory of certificates with the names that QEMU, libvirt, nbdkit and nearblock use.
public struct CertificateDirectory {
    private let path: String

    /// Names a directory, which need not be there.
    public init(path: String) {
        self.path = path
    }

    /// Looks for every fault. Blocks the thread.
    /// - Parameters:
    ///   - host: The DNS name or IP address by which clients and peers reach the server; nil to check no name.
    ///   - sides: The pairs of certificate and key that must be there.
    public func problems(host: CertificateHost?, sides: [TLSSide] = [.server, .client]) -> [CertificateProblem] {
        var info = stat()
        guard stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
            return [.fault("\(path) is not a directory: give the one that has ca-cert.pem")]
        }
        var problems: [CertificateProblem] = []
        let authorities = read("ca-cert.pem", &problems)
        for authority in authorities where X509_check_ca(authority.x509) == 0 {
            problems.append(
                .fault("\(file("ca-cert.pem")) has a certificate that is no authority's (basicConstraints CA:TRUE)"))
        }
        if authorities.isEmpty, !exists("ca-cert.pem") {
            problems.append(.fault("\(path) has no ca-cert.pem, the certificate of the authority: copy it there"))
        }
        if exists("ca-key.pem") {
            problems.append(
                .warning("\(file("ca-key.pem")) can make certificates for anyone: keep it on no node, and best offline")
            )
        }
        for side in sides { check(side, host: side == .server ? host : nil, &problems) }
        // A file that can't be read is met more than once.
        return problems.enumerated().filter { problems[..<$0].contains($1) == false }.map(\.element)
    }

    private func file(_ name: String) -> String { path.hasSuffix("/") ? "\(path)\(name)" : "\(path)/\(name)" }

    private func exists(_ name: String) -> Bool {
        var info = stat()
        return lstat(file(name), &info) == 0
    }

    private func read(_ name: String, _ problems: inout [CertificateProblem]) -> [Certificate] {
        guard exists(name) else { return [] }
        do { return try Certificate.read(file(name)) } catch {
            problems.append(.fault("\(error)"))
            return []
        }
    }

    private func check(_ side: TLSSide, host: CertificateHost?, _ problems: inout [CertificateProblem]) {
        let (certificate, key) = ("\(side.rawValue)-cert.pem", "\(side.rawValue)-key.pem")
        let missing = [certificate, key].filter { !exists($0) }
        guard missing.isEmpty else {
            let use = side == .server ? "accept clients and disks" : "send disks"
            let what = missing.joined(separator: " and no ")
            return problems.append(.fault("\(path) has no \(what), with which a node can \(use): put a pair there"))
        }
        checkMode(key, &problems)
        checkPair(side, &problems)
        let chain = read(certificate, &problems)
        guard !chain.isEmpty, exists("ca-cert.pem") else { return }
        let check = ChainCheck(
            chain: chain, path: file(certificate), authority: file("ca-cert.pem"),
            revoked: exists("ca-crl.pem") ? file("ca-crl.pem") : nil)
        problems += check.problems(side: side, host: host)
    }

    private func checkMode(_ key: String, _ problems: inout [CertificateProblem]) {
        guard let mode = KeyMode(file(key)) else { return }
        if let exposure = mode.exposure {
            problems.append(.fault(exposure))
        } else if let group = mode.readingGroup {
            problems.append(.warning(group))
        }
    }

    /// Has OpenSSL take certificate and key, as a node does.
    private func checkPair(_ side: TLSSide, _ problems: inout [CertificateProblem]) {
        do { try TLSContext.checkPair(TLSFiles(directory: path, side: side), side: side) } catch {
            problems.append(.fault("\(error)"))
        }
    }
}
