import ArgumentParser

/// `nearblock certificates`.
struct CertificatesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certificates",
        abstract: "Make the certificates of nodes, and check a node's directory of them.",
        discussion: HelpText.text(
            """
            The directories have the file names of QEMU, libvirt and nbdkit, and are for --peer-tls and --tls.
            """,
            examples: "nearblock certificates make --host a.example --host b.example",
            "nearblock certificates check /etc/nearblock/tls --host b.example"),
        subcommands: [CertificatesMakeCommand.self, CertificatesCheckCommand.self])
}
