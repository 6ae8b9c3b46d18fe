import ArgumentParser

/// `nearblock certificates`.
struct CertificatesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certificates",
        abstract: "Make the certificates of nodes, and check a node's directory of them.",
        discussion: """
            The directories have the file names of QEMU, libvirt and nbdkit, and are for --peer-tls and --tls.
            """,
        subcommands: [CertificatesMakeCommand.self, CertificatesCheckCommand.self])
}
