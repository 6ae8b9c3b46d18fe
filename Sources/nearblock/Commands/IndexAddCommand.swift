import ArgumentParser
import Configuration
import FreeSpace
import Index
import StorageDaemon

/// `nearblock index add`.
struct IndexAddCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Index images, and replace their earlier tables.",
        usage: "nearblock index add --index <dir> [<options>] <images> ...",
        discussion: HelpText.text(

            examples: "nearblock index add --index /var/lib/index /images/*.raw",
            "nearblock index add --index /var/lib/index --domain web /dev/vg/web"))

    @OptionGroup var place: IndexOption
    @OptionGroup var build: BuildOption
    @Option(
        help: ArgumentHelp("Block size of a new index in bytes (default: 4096).", valueName: "bytes"),
        transform: ByteCount.init)
    var blockSize: ByteCount?
    @Option(
        help: ArgumentHelp(
            "Domain of the images; a migration can be limited to domains (default: unchanged, or default).",
            valueName: "name"))
    var domain: String?
    @Option(
        help: ArgumentHelp(
            "Format of the images: raw, qcow2, vmdk, vhdx or vdi (default: raw). Names in the index begin with it.",
            valueName: "format"))
    var format: String?
    @Flag(help: "Print one JSON object for each image.")
    var json = false
    @Argument(help: "Images, block devices, NBD URIs, rbd:POOL/IMAGE or QEMU's json:{…}.", completion: .file())
    var images: [String]

    func validate() throws {
        guard let format, format != "raw", !ImageSpecification.formats.contains(format) else { return }
        throw ValidationError(
            "'\(format)' is no format; there are raw, \(ImageSpecification.formats.joined(separator: ", ")).")
    }

    func run() async throws {
        build.begin()
        let images = images.map { image in format.map { $0 == "raw" ? image : "\($0):\(image)" } ?? image }
        if format == nil { FormatNotice.check(images) }
        let store = try IndexStore(
            directory: place.index, blockSize: blockSize.map { Int(clamping: $0.bytes) },
            findPlaces: PartitionReader().places)
        defer { Terminal.endProgress() }
        let json = json
        try store.add(
            images, domain: domain, options: build.options,
            begins: { image in
                let line = BuildProgressLine(image)
                return { line.show($0) }
            },
            ends: { summary in
                Terminal.endProgress()
                try? IndexReport.print(summary, asJSON: json)
            })
    }
}
