import Daemon
import TLS

/// Looks at the directories of certificates that a node would use.
struct CertificateChecks {
    let node: NodeConfiguration
    /// Whether the node is to send disks.
    let sends: Bool

    func findings() -> [DoctorFinding] {
        var findings: [DoctorFinding] = []
        let peers = node.allowsInsecurePeers ? nil : node.peerTLS ?? node.tls?.files.directory
        if let directory = peers {
            findings += check(directory, (node.peerListen == nil ? [] : [.server]) + (sends ? [.client] : []))
        }
        if let tls = node.tls, tls.mode != .off {
            if let directory = tls.files.directory, directory != peers {
                findings += check(directory, [.server])
            } else if tls.files.directory == nil {
                findings += tls.files.problems().map(finding)
            }
        }
        if node.allowsInsecurePeers {
            findings.append(
                .warning(
                    "certificates", "peers need no certificates: anyone on the network can read and send disks",
                    do: "make some with nearblock certificates make, and give both nodes --peer-tls DIR"))
        }
        return findings
    }

    private func check(_ directory: String, _ sides: [TLSSide]) -> [DoctorFinding] {
        let problems = CertificateDirectory(path: directory).problems(host: nil, sides: sides)
        return problems.isEmpty ? [.ok("certificates", "\(directory) has no faults")] : problems.map(finding)
    }

    private func finding(_ problem: CertificateProblem) -> DoctorFinding {
        DoctorFinding(
            check: "certificates", verdict: problem.isFault ? .fault : .warning, text: problem.description, advice: nil)
    }
}
