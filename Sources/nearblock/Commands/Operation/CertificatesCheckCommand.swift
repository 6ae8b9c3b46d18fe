import ArgumentParser
import TLS

/// `nearblock certificates check`.
struct CertificatesCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Name each fault of a directory of certificates.",
        usage: "nearblock certificates check <directory> [<options>]",
        discussion: HelpText.text(
            """
            Exits with 1 if there is a fault; warnings alone end with 0.
            """,
            examples: "nearblock certificates check /etc/nearblock/tls --host b.example",
            "nearblock certificates check /etc/nearblock/tls --only client"))

    @Argument(help: "Directory with ca-cert.pem and the certificates and keys of a node.")
    var directory: String
    @Option(
        help: ArgumentHelp(
            "DNS name or IP address by which others reach the node: its server certificate must have it.",
            valueName: "name"), transform: Self.parse)
    var host: CertificateHost?
    @Option(help: ArgumentHelp("Check only the server's or the client's pair.", valueName: "server|client"))
    var only: TLSSide?
    @Flag(help: "Print one JSON object on standard output.")
    var json = false

    private struct Answer: Encodable {
        let faults: [String]
        let warnings: [String]
    }

    func run() throws {
        let problems = CertificateDirectory(path: directory).problems(
            host: host, sides: only.map { [$0] } ?? [.server, .client])
        let faults = problems.filter(\.isFault)
        if json {
            try JSON.print(
                Answer(
                    faults: faults.map(\.description), warnings: problems.filter { !$0.isFault }.map(\.description)))
        } else {
            for problem in problems { print(problem.isFault ? "fault: \(problem)" : "warning: \(problem)") }
            if problems.isEmpty { print("\(directory): no faults") }
        }
        guard faults.isEmpty else {
            throw CommandFailure(
                reason: "\(directory) has \(faults.count) \(faults.count == 1 ? "fault" : "faults")")
        }
    }

    private static func parse(_ text: String) throws -> CertificateHost {
        guard let host = CertificateHost(text) else {
            throw ValidationError("'\(text)' is neither a DNS name nor an IP address.")
        }
        return host
    }
}

extension TLSSide: ExpressibleByArgument {}
