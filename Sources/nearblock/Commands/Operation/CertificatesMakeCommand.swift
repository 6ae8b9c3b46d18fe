import ArgumentParser
import TLS

/// `nearblock certificates make`.
struct CertificatesMakeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "make",
        abstract: "Make an authority and a directory of certificates for each host.",
        usage: "nearblock certificates make [--host <name> ...] [<options>]",
        discussion: HelpText.text(
            """
            The authority stays in DIR/ca; its ca-key.pem can make certificates for anyone, so keep DIR/ca on no node. \
            Copy each other directory to its host. Nothing is overwritten.
            """,
            examples: "nearblock certificates make --host a.example,10.0.0.1 --host b.example",
            "nearblock certificates make --host c.example"))

    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            "DNS name or IP address by which other nodes and clients reach the host; further ones of it follow after commas.",
            valueName: "name"), transform: Self.hosts)
    var host: [[CertificateHost]] = []
    @Option(help: ArgumentHelp("Directory in which the directories are made.", valueName: "dir"))
    var directory = "certificates"
    @Option(help: ArgumentHelp("Days that certificates of hosts are valid, 1 to 3650.", valueName: "n"))
    var days = 365

    func validate() throws {
        guard !host.isEmpty else { throw ValidationError("Give --host NAME, once for each host.") }
        guard (1...3650).contains(days) else { throw ValidationError("--days is 1 to 3650.") }
        let names = host.map { $0[0].text }
        guard Set(names).count == names.count else { throw ValidationError("Give each host once.") }
        guard !names.contains(CertificateStore.authorityFolder) else {
            throw ValidationError(
                "A host can't be called \(CertificateStore.authorityFolder), the authority's directory.")
        }
    }

    func run() throws {
        let store = CertificateStore(directory: directory)
        for host in host { try store.checkIsNew(host[0].text) }
        let (authority, isNew) = try store.authority()
        if isNew {
            print(
                "\(store.authorityPath): a new authority. Its ca-key.pem makes certificates for anyone: keep it on no node"
            )
        }
        for host in host {
            let path = try store.makeDirectory(for: host, by: authority, days: days)
            let names = host.map(\.text).joined(separator: ", ")
            print(
                "\(path): for \(names), valid for \(days) days; copy it there, and start the node with --peer-tls DIR")
        }
    }

    private static func hosts(_ text: String) throws -> [CertificateHost] {
        try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
            guard let host = CertificateHost(String(part)) else {
                throw ValidationError("'\(part)' is neither a DNS name nor an IP address.")
            }
            return host
        }
    }
}
