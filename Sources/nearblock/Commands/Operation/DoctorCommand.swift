import ArgumentParser
import Configuration
import Daemon
import Peer
import PeerModel

/// `nearblock doctor`.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check this machine, a node's configuration and the way to another node, and say what to do.",
        usage: "nearblock doctor [<options>]",
        discussion: HelpText.text(
            """
            Files and ports are judged with the rights of --user. Nothing is changed. With --to, up to 16 MiB cross the link within a second. Exits \
            with 1 if there is a fault; warnings alone end with 0.
            """,
            examples: "nearblock doctor --config /etc/nearblock.conf",
            "nearblock doctor --config /etc/nearblock.conf --to b.example:7000"))

    @Option(help: ArgumentHelp("Configuration file of the node, as for serve --config.", valueName: "file"))
    var config: String?
    @Option(help: ArgumentHelp("Address of another node's --peer-listen.", valueName: "host:port"))
    var to: PeerAddress?
    @Option(help: ArgumentHelp("Directory of the certificates for peers, as for serve.", valueName: "dir"))
    var peerTls: String?
    @Flag(help: "Allow a peer without TLS at any address, as serve does.")
    var insecurePeer = false
    @OptionGroup var judge: JudgeOption
    @Flag(help: "Print one JSON object on standard output.")
    var json = false
    @OptionGroup var node: ControlOption

    private struct Answer: Encodable {
        let checks: [DoctorFinding]
        let faults: Int
        let warnings: Int
    }

    func validate() throws {
        if insecurePeer && peerTls != nil {
            throw ValidationError("--insecure-peer and --peer-tls exclude each other.")
        }
    }

    func run() async throws {
        // Another user's default paths would be others.
        var configuration = NodeConfiguration(state: DefaultPaths.state, defaultControl: DefaultPaths.control)
        let defaultControl = DefaultPaths.control
        let judgement = try Judgement(as: judge.user, config: config)
        let service = judgement.service
        var findings =
            [.ok("user", judgement.description)] + HostChecks.findings(descriptorLimit: service?.descriptorLimit)
        if let config {
            let check = ConfigurationCheck(path: config, looksAtFiles: true, onto: configuration, service: service)
            configuration = check.node ?? configuration
            findings += Self.findings(of: check, config)
        }
        if peerTls != nil || insecurePeer {
            configuration.peerTLS = peerTls
            configuration.allowsInsecurePeers = insecurePeer
        }
        let (running, about) = await exports(at: configuration.control, defaultControl: defaultControl)
        findings += about
        findings += PlaceChecks(node: configuration, isRunning: running, judgement: judgement).findings()
        findings += CertificateChecks(node: configuration, sends: to != nil).findings()
        if let to { findings += await Self.findings(of: to, configuration) }
        try report(findings)
    }

    private static func findings(of check: ConfigurationCheck, _ path: String) -> [DoctorFinding] {
        guard !check.findings.isEmpty else { return [.ok("configuration", "\(path) has no mistakes")] }
        let lines = check.shown.findings.map {
            DoctorFinding(
                check: "configuration", verdict: $0.isMistake ? .fault : .warning, text: PlainText.line($0.description),
                advice: nil)
        }
        guard check.shown.others > 0 else { return lines }
        return lines + [
            .warning("configuration", "\(path) has \(check.shown.others) more", do: "nearblock check --json \(path)")
        ]
    }

    private static func findings(of peer: PeerAddress, _ configuration: NodeConfiguration) async -> [DoctorFinding] {
        do {
            return await PeerChecks(address: peer, protection: try configuration.openPeerProtection()).findings()
        } catch {
            return [.fault("peer", error.plainReason, do: nil)]
        }
    }

    /// Asks the node that runs here.
    private func exports(at path: String?, defaultControl: String) async -> (isRunning: Bool, findings: [DoctorFinding])
    {
        var node = node
        if let path, node.control == defaultControl { node.control = path }
        guard case .status(let exports, _, _)? = try? await node.ask(.status) else {
            return (false, [.ok("node", "none answers at \(node.control)")])
        }
        let problems = exports.compactMap { export in
            export.problem.map { DoctorFinding.warning("export", PlainText.line("\(export.export): \($0)"), do: nil) }
        }
        return (true, [.ok("node", "one runs, with \(exports.count) exports, at \(node.control)")] + problems)
    }

    private func report(_ findings: [DoctorFinding]) throws {
        let faults = findings.count(where: { $0.verdict == .fault })
        if json {
            try JSON.print(
                Answer(checks: findings, faults: faults, warnings: findings.count(where: { $0.verdict == .warning })))
        } else {
            for finding in findings { print(finding) }
        }
        guard faults == 0 else {
            throw CommandFailure(reason: "the doctor has found \(faults) \(faults == 1 ? "fault" : "faults")")
        }
    }

    private func print(_ finding: DoctorFinding) {
        let verdict = finding.verdict.rawValue.padding(toLength: 8)
        Swift.print("\(verdict) \(finding.check.padding(toLength: 13)) \(finding.text)")
        if let advice = finding.advice { Swift.print("\(" ".padding(toLength: 22)) do: \(advice)") }
    }
}

extension String {
    /// The text with blanks at its end, if it is shorter.
    fileprivate func padding(toLength length: Int) -> String {
        self + String(repeating: " ", count: max(0, length - count))
    }
}
