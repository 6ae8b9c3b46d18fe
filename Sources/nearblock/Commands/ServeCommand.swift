import ArgumentParser
import Configuration
import Daemon
import Foundation
import Logging
import NBDServer
import Peer

/// `nearblock serve`.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve a disk image over NBD, take in disks of other nodes, or both.",
        discussion: """
            Stays in the foreground, says on standard error when it is ready, and ends on SIGTERM or SIGINT after it \
            has finished what clients have asked for. SIGHUP reads the configuration, certificates and keys again.

            Sockets that a service manager passes on (systemd socket activation) are listened on instead of the \
            default address.
            """)

    @Argument(help: "What holds the disk: a raw image, a block device, or an NBD URI.")
    var image: String?
    @Option(
        help: ArgumentHelp(
            "The name that clients ask for (default: the image's file name).", valueName: "name"))
    var export: String?
    @Option(help: ArgumentHelp("What clients are told of the export.", valueName: "text"))
    var description: String?
    @Flag(help: "Refuse writes.")
    var readOnly = false
    @Flag(help: "Pass by the host's page cache (O_DIRECT).")
    var direct = false
    @Option(
        help: ArgumentHelp(
            """
            Note which blocks are written between checkpoints (see nearblock checkpoint), and show it to clients as \
            qemu:dirty-bitmap:NAME.
            """,
            valueName: "name"))
    var dirtyBitmap: String?
    @Option(
        help: ArgumentHelp(
            "The name by which a device is known that has no UUID, WWID or serial number, so that it can be moved.",
            valueName: "name"))
    var identity: String?
    @Option(
        parsing: .singleValue,
        help: ArgumentHelp("Listen for NBD clients on a Unix socket; may be repeated.", valueName: "path"))
    var socket: [String] = []
    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            """
            Listen for NBD clients on TCP; may be repeated, and :PORT is every address (default: 127.0.0.1:10809 where \
            nothing else is given).
            """,
            valueName: "host:port"), transform: Self.tcpAddress)
    var listen: [ListenAddress] = []
    @Option(help: ArgumentHelp("Listen for NBD clients on a port of vsock.", valueName: "port"))
    var vsock: UInt32?
    @Flag(name: [.short, .long], help: "Serve the one client on standard input and output, as inetd does.")
    var single = false
    @Option(
        help: ArgumentHelp(
            "Run a shell command with $uri, $unixsocket, $port and $exportname set, on a private socket, and end with it.",
            valueName: "command"))
    var run: String?
    @Option(help: ArgumentHelp("Read the options of the node, and its exports, from a file.", valueName: "file"))
    var config: String?
    @Option(help: ArgumentHelp("Serve what a configuration of nbd-server says.", valueName: "file"))
    var nbdServerConfig: String?
    @Option(
        help: ArgumentHelp(
            """
            Encrypt, with the files of a directory: server-cert.pem, server-key.pem, ca-cert.pem, keys.psk for NBD \
            clients; the certificates, with client-cert.pem and client-key.pem, for peers too.
            """,
            valueName: "dir"))
    var tls: String?
    @Option(
        help: ArgumentHelp(
            "Whether clients may encrypt, or must: off, optional or required (default: required).", valueName: "mode"))
    var tlsMode: TLSConfiguration.Mode?
    @Flag(help: "Clients must show a certificate that ca-cert.pem has signed.")
    var tlsVerifyClient = false
    @Option(
        help: ArgumentHelp(
            "Take in disks that other nodes move here; without --peer-tls, --tls or --insecure-peer only on loopback.",
            valueName: "host:port"))
    var peerListen: PeerAddress?
    @Option(
        help: ArgumentHelp(
            """
            Encrypt the link to peers, in and out, with the files of a directory: ca-cert.pem, server-cert.pem and \
            server-key.pem to take disks in, client-cert.pem and client-key.pem to move disks away (default: as --tls).
            """,
            valueName: "dir"))
    var peerTls: String?
    @Flag(help: "Talk with peers in the clear, at any address: whoever reaches the network can read and bring disks.")
    var insecurePeer = false
    @Option(help: ArgumentHelp("Where disks that are moved here go.", valueName: "dir"))
    var images: String?
    @OptionGroup var permissions: PermissionOptions
    @Option(
        help: "What becomes of writes to a disk that is still to be handed over: they wait, or are refused.")
    var incomingWrites: IncomingWrites?
    @Option(
        help: ArgumentHelp("The index of the neighbours that disks moved here may draw on.", valueName: "dir")
    )
    var index: String?
    @Option(
        help: ArgumentHelp(
            "Keep the disks served here in the index too, and what it has of them no older than that: 10m.",
            valueName: "time"), transform: TimeSpan.interval)
    var keepIndex: TimeSpan?
    @Option(
        help: ArgumentHelp(
            "Where what must survive a restart is kept (default: \(DefaultPaths.state)).", valueName: "dir"))
    var state: String?
    @Option(
        help: ArgumentHelp(
            "The socket for commands to this node (default: \(DefaultPaths.control)).", valueName: "path"))
    var control: String?

    func validate() throws {
        if image == nil && peerListen == nil && config == nil && nbdServerConfig == nil {
            throw ValidationError(
                "There is nothing to serve: give an IMAGE, --config, or --peer-listen to take disks in.")
        }
        if image == nil
            && (export != nil || readOnly || direct || description != nil || dirtyBitmap != nil || identity != nil)
        {
            throw ValidationError(
                "--export, --description, --read-only, --direct, --dirty-bitmap and --identity are about an IMAGE, "
                    + "and there is none.")
        }
        if let problem = identity.flatMap(ExportConfiguration.problem(withIdentity:)) {
            throw ValidationError("\(problem).")
        }
        if let problem = dirtyBitmap.flatMap(ExportConfiguration.problem(withBitmap:)) {
            throw ValidationError("\(problem).")
        }
        if insecurePeer && peerTls != nil {
            throw ValidationError("--insecure-peer and --peer-tls exclude each other.")
        }
        if single && (run != nil || !socket.isEmpty || !listen.isEmpty || vsock != nil) {
            throw ValidationError("--single has one client and needs no --run, --socket, --listen or --vsock.")
        }
    }

    func run() async throws {
        LoggingSystem.bootstrap { PlainLogHandler(StreamLogHandler.standardError(label: $0)) }
        let logger = Logger(label: "nearblock")
        let signals = ProcessSignals()
        let inherited = InheritedSockets.take()
        let started = try nodeConfiguration(logger)
        var node = started
        let privateSocket = run != nil && node.listen.isEmpty ? try PrivateSocket() : nil
        defer { privateSocket?.remove() }
        if let privateSocket { node.listen.append(.unix(path: privateSocket.path)) }
        node.listen += inherited.map { .inherited(descriptor: $0) }
        if node.listen.isEmpty && !single { node.listen.append(.tcp(host: "127.0.0.1", port: 10809)) }
        guard node.peerListen == nil || node.images != nil else {
            throw ValidationError("--peer-listen needs --images DIR, where disks that are moved here go.")
        }
        let purpose: ServeRun.Purpose =
            single ? .single(try StandardStreams()) : run.map { .captive(command: $0) } ?? .serve
        // A command would inherit it.
        if run == nil { DescriptorLimit.raise() }
        let serving = ServeRun(configuration: node, started: started, purpose: purpose) { [self] in
            try nodeConfiguration(logger)
        }
        let status = try await serving.run(signals: signals, logger: logger)
        if status != 0 { throw ExitCode(status) }
    }

    /// What the files and the command line say; the command line has the last word.
    private func nodeConfiguration(_ logger: Logger) throws -> NodeConfiguration {
        // A node that serves one client or command is not there to be told to migrate.
        let isShortLived = single || run != nil
        var node = NodeConfiguration(
            state: DefaultPaths.state, defaultControl: isShortLived ? nil : DefaultPaths.control)
        if let nbdServerConfig {
            for warning in try NBDServerConfiguration.read(nbdServerConfig, into: &node) {
                logger.warning("\(warning)")
            }
        }
        if let config { try ConfigurationFile.read(config, into: &node) }
        if let image { node.exports.append(exportConfiguration(image)) }
        if !socket.isEmpty || !listen.isEmpty || vsock != nil {
            node.listen = socket.map { .unix(path: $0) } + listen
            if let vsock { node.listen.append(.vsock(port: vsock)) }
        }
        node.tls = try tlsConfiguration(node.tls)
        if peerTls != nil || insecurePeer {
            node.peerTLS = peerTls
            node.allowsInsecurePeers = insecurePeer
        }
        node.peerListen = peerListen ?? node.peerListen
        node.images = images ?? node.images
        permissions.apply(to: &node)
        if let incomingWrites { node.refusesEarlyWrites = incomingWrites == .refuse }
        node.index = index ?? node.index
        node.keepIndex = keepIndex.map { .seconds($0.seconds) } ?? node.keepIndex
        guard node.keepIndex == nil || node.index != nil else {
            throw ValidationError("--keep-index needs --index DIR.")
        }
        node.state = state ?? node.state
        node.hasDefaultState = node.state == DefaultPaths.state
        node.control = control ?? node.control
        return node
    }

    /// - Parameter configured: what the files say.
    /// - Throws: `ValidationError` where encryption is asked for and there is nothing to do it with: never in the clear.
    private func tlsConfiguration(_ configured: TLSConfiguration?) throws -> TLSConfiguration? {
        let mode = tlsMode ?? configured?.mode ?? .required
        let verifiesClients = tlsVerifyClient || configured?.verifiesClients ?? false
        if let tls { return TLSConfiguration(directory: tls, mode: mode, verifiesClients: verifiesClients) }
        if let configured {
            var tls = TLSConfiguration(files: configured.files, mode: mode, verifiesClients: verifiesClients)
            // Of nbd-server's file; the command line has to make sense by itself.
            tls.letsUnverifiedIn = configured.letsUnverifiedIn && tlsMode == nil && !tlsVerifyClient
            return tls
        }
        if tlsVerifyClient { throw ValidationError("--tls-verify-client needs --tls DIR.") }
        if let tlsMode, tlsMode != .off { throw ValidationError("--tls-mode \(tlsMode.rawValue) needs --tls DIR.") }
        return nil
    }

    private static func tcpAddress(_ text: String) throws -> ListenAddress {
        guard let address = ListenAddress(tcp: text) else {
            throw ValidationError("'\(text)' is not HOST:PORT.")
        }
        return address
    }

    private func exportConfiguration(_ image: String) -> ExportConfiguration {
        ExportConfiguration(
            backing: image, name: export ?? URL(fileURLWithPath: image).lastPathComponent, isReadOnly: readOnly,
            text: description ?? "", isDirect: direct, isDefault: true, dirtyBitmap: dirtyBitmap,
            identity: identity)
    }
}

extension TLSConfiguration.Mode: ExpressibleByArgument {}
