import ArgumentParser
import Site

/// `nearblock site takeover`.
struct SiteTakeoverCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "takeover", abstract: "Let another host serve a disk on an RBD image, and keep the old one out.",
        discussion: HelpText.text(
            "The clients of Ceph through which the old host may write are fenced first. Then start `nearblock serve` with the "
                + "image on the new host, or reload its configuration.",
            examples: "nearblock site takeover web --site rados:vms/site --host host2",
            "nearblock site takeover rbd:vms/web --site rados:vms/site --host host2 --force"))

    @OptionGroup var place: SiteOption
    @Argument(help: "Name of the export, or rbd:POOL/IMAGE.")
    var export: String
    @Option(help: ArgumentHelp("Name of the host that will serve it.", valueName: "name"))
    var host: String
    @Flag(help: "Do not wait until the old host has shown no life for a minute.")
    var force = false

    func run() async throws {
        let old = try DiskRegister(of: place.store).takeOver(export, by: host, isForced: force)
        print("\(old.image) is for '\(host)' now, as '\(old.export)'; '\(old.host)' can't write to it any more")
    }
}
