import ArgumentParser
import Configuration
import Daemon
import Foundation
import Logging
import Monitoring
import NBDServer
import Peer
import PeerModel

/// `nearblock serve`.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve a disk image over NBD, accept disks from other nodes, or both.",
        usage: "nearblock serve [<image>] [<options>]",
        discussion: HelpText.text(
            """
            Stays in the foreground, reports on standard error when it is ready, and ends on SIGTERM or SIGINT after it \
            has finished the requests of clients. SIGHUP reloads configuration, certificates and keys. Sockets from a \
            service manager replace the default address. --help-hidden shows the rarer options, too.
            """,
            examples: "nearblock serve disk.raw --export disk --socket /run/disk.sock",
            "nearblock serve --config /etc/nearblock.conf",
            "nearblock serve --peer-listen 127.0.0.1:7000 --images /images"))

    @Argument(
        help: "Disk to serve: an image, a block device, an NBD URI, rbd:POOL/IMAGE, or QEMU's json:{…}.",
        completion: .file())
    var image: String?
    @Option(
        help: ArgumentHelp(
            "Name of the export (default: the image's file name).", valueName: "name"))
    var export: String?
    @Option(help: ArgumentHelp("Description of the export for clients.", valueName: "text", visibility: .hidden))
    var description: String?
    @Option(
        help: ArgumentHelp(
            "Format of the image: raw, qcow2, vmdk, vhdx, vdi or auto (default: raw).",
            valueName: "format"))
    var format: String?
    @Flag(help: "Refuse writes.")
    var readOnly = false
    @Flag(help: ArgumentHelp("Bypass the host's page cache (O_DIRECT).", visibility: .hidden))
    var direct = false
    @Option(
        help: ArgumentHelp(
            """
            Track which blocks are written between checkpoints (see nearblock checkpoint), and show them to clients as \
            qemu:dirty-bitmap:NAME.
            """,
            valueName: "name", visibility: .hidden))
    var dirtyBitmap: String?
    @Option(
        help: ArgumentHelp(
            "Name of a device that has no UUID, WWID or serial number, so that it can be migrated.",
            valueName: "name", visibility: .hidden))
    var identity: String?
    @Option(
        parsing: .singleValue,
        help: ArgumentHelp("Listen for NBD clients on a Unix socket.", valueName: "path"), completion: .file())
    var socket: [String] = []
    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            "Listen for NBD clients on TCP; :PORT means all addresses (default: 127.0.0.1:10809).",
            valueName: "host:port"), transform: Self.tcpAddress)
    var listen: [ListenAddress] = []
    @Option(help: ArgumentHelp("Listen for NBD clients on a vsock port.", valueName: "port", visibility: .hidden))
    var vsock: UInt32?
    @Flag(
        name: [.short, .long],
        help: ArgumentHelp("Serve the one client on standard input and output, as inetd does.", visibility: .hidden))
    var single = false
    @Option(
        help: ArgumentHelp(
            "Serve on a private socket, run a shell command with $uri, $unixsocket, $port and $exportname set, and end with "
                + "it.",
            valueName: "command"))
    var run: String?
    @Option(
        help: ArgumentHelp("Read the node's options and exports from a file.", valueName: "file"), completion: .file())
    var config: String?
    @Option(
        help: ArgumentHelp(
            "Serve the exports of an nbd-server configuration file.", valueName: "file", visibility: .hidden),
        completion: .file())
    var nbdServerConfig: String?
    @Option(
        help: ArgumentHelp(
            "Use TLS with the files of a directory, for clients and peers: server-cert.pem, server-key.pem, ca-cert.pem, "
                + "keys.psk, client-cert.pem, client-key.pem, ca-crl.pem.",
            valueName: "dir"), completion: .directory)
    var tls: String?
    @Option(
        help: ArgumentHelp(
            "TLS for clients: off, optional or required (default: required).", valueName: "mode", visibility: .hidden))
    var tlsMode: TLSConfiguration.Mode?
    @Flag(help: ArgumentHelp("Require client certificates that are signed by ca-cert.pem.", visibility: .hidden))
    var tlsVerifyClient = false
    @Option(
        help: ArgumentHelp(
            "Accept disks from other nodes; without TLS or --insecure-peer only on loopback.",
            valueName: "host:port"))
    var peerListen: PeerAddress?
    @Option(
        help: ArgumentHelp(
            "Use TLS for peers with such files of another directory (default: as --tls).",
            valueName: "dir"), completion: .directory)
    var peerTls: String?
    @Flag(
        help: ArgumentHelp(
            "Allow peers without TLS at any address: anyone on the network can then read and send disks.",
            visibility: .hidden))
    var insecurePeer = false
    @Option(
        help: ArgumentHelp("Directory for images that arrive by migration.", valueName: "dir"), completion: .directory)
    var images: String?
    @Option(
        help: ArgumentHelp(
            "Accept the memory of guests from other nodes: directory of the Unix sockets, NAME.sock, on which QEMU "
                + "waits with -incoming.", valueName: "dir", visibility: .hidden), completion: .directory)
    var memoryDir: String?
    @Flag(
        help: ArgumentHelp(
            "Keep migrations before their switchover at SIGTERM, and go on with them at the next start (default: cancel "
                + "them).", visibility: .hidden))
    var keepMigrations = false
    @OptionGroup(visibility: .hidden) var permissions: PermissionOptions
    @OptionGroup(visibility: .hidden) var targets: TargetOptions
    @Option(
        help: ArgumentHelp(
            "Handling of writes to a disk before its switchover: wait or refuse (default: wait).", visibility: .hidden))
    var incomingWrites: IncomingWrites?
    @Option(
        help: ArgumentHelp("Index of the images whose blocks arriving disks may use.", valueName: "dir"),
        completion: .directory)
    var index: String?
    @Option(
        help: ArgumentHelp(
            "Index the disks served here too, and update the index at this interval, as in 10m.",
            valueName: "time", visibility: .hidden), transform: TimeSpan.interval)
    var keepIndex: TimeSpan?
    @OptionGroup(visibility: .hidden) var siteOptions: SiteOptions
    @Option(
        help: ArgumentHelp(
            "Directory of the records (default: \(DefaultPaths.state)).", valueName: "dir"), completion: .directory)
    var state: String?
    @Option(
        help: ArgumentHelp(
            "Socket for commands (default: \(DefaultPaths.control)).", valueName: "path"), completion: .file())
    var control: String?
    @Option(
        help: ArgumentHelp(
            "Serve metrics for Prometheus over HTTP; a PORT alone is one of 127.0.0.1.",
            valueName: "[host:]port|unix:path", visibility: .hidden),
        transform: Self.monitoringAddress)
    var metrics: MonitoringAddress?
    @Option(
        help: ArgumentHelp(
            "Serve a page that shows the blocks of all disks live; a PORT alone is one of 127.0.0.1.",
            valueName: "[host:]port|unix:path", visibility: .hidden), transform: Self.monitoringAddress)
    var web: MonitoringAddress?
    @Option(
        help: ArgumentHelp(
            "Log lines of this level and more important ones (default: info).", valueName: "level",
            visibility: .hidden))
    var logLevel: Logger.Level?

    func validate() throws {
        if image == nil && peerListen == nil && config == nil && nbdServerConfig == nil {
            throw ValidationError(
                "There is nothing to serve: give an IMAGE, --config, or --peer-listen to accept disks.")
        }
        if image == nil
            && (export != nil || readOnly || direct || description != nil || dirtyBitmap != nil || identity != nil
                || format != nil)
        {
            throw ValidationError(
                "--export, --description, --format, --read-only, --direct, --dirty-bitmap and --identity need an IMAGE; "
                    + "give one, or leave them out.")
        }
        if let problem = identity.flatMap(ExportConfiguration.problem(withIdentity:)) {
            throw ValidationError("\(problem).")
        }
        if let problem = format.flatMap(ExportConfiguration.problem(withFormat:)) {
            throw ValidationError("\(problem).")
        }
        if let problem = dirtyBitmap.flatMap(ExportConfiguration.problem(withBitmap:)) {
            throw ValidationError("\(problem).")
        }
        if insecurePeer && peerTls != nil {
            throw ValidationError("--insecure-peer and --peer-tls exclude each other.")
        }
        if single && (run != nil || !socket.isEmpty || !listen.isEmpty || vsock != nil) {
            throw ValidationError(
                "--single serves only the client on standard input and output; leave out --run, --socket, --listen "
                    + "and --vsock.")
        }
    }

    func run() async throws {
        LoggingSystem.bootstrap { LineLogHandler(label: $0) }
        if let logLevel { LogThreshold.level = logLevel }
        let logger = Logger(label: "nearblock")
        let signals = ProcessSignals()
        let inherited = InheritedSockets.claim()
        guard inherited.peers.count <= 1 else {
            throw ValidationError(
                "there are \(inherited.peers.count) sockets for peers; give one in nearblock-peer.socket.")
        }
        let started = try nodeConfiguration(logger)
        var node = started
        let privateSocket = run != nil && node.listen.isEmpty ? try PrivateSocket() : nil
        defer { privateSocket?.remove() }
        if let privateSocket { node.listen.append(.unix(path: privateSocket.path)) }
        node.listen += inherited.clients.map { .inherited(descriptor: $0) }
        if let peers = inherited.peers.first {
            node.peerListen = try InheritedPeerSocket.address(of: peers)
            node.peerSocket = peers
        }
        if node.listen.isEmpty && !single { node.listen.append(.tcp(host: "127.0.0.1", port: 10809)) }
        guard node.peerListen == nil || node.images != nil else {
            throw ValidationError("--peer-listen needs --images DIR, the directory for images that arrive.")
        }
        let purpose: ServeRun.Purpose =
            single ? .single(try StandardStreams()) : run.map { .captive(command: $0) } ?? .serve
        // A command would inherit the higher limit.
        if run == nil { DescriptorLimit.raise() }
        let serving = ServeRun(configuration: node, started: started, purpose: purpose) { [self] in
            try nodeConfiguration(logger)
        }
        let status = try await serving.run(signals: signals, logger: logger)
        if status != 0 { throw ExitCode(status) }
    }

    /// Combines files and command line; the command line takes precedence.
    private func nodeConfiguration(_ logger: Logger) throws -> NodeConfiguration {
        // A node for one client or command ends soon, so it gets no default control socket.
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
        if keepMigrations { node.keepsMigrations = true }
        node.images = images ?? node.images
        node.memoryDirectory = memoryDir ?? node.memoryDirectory
        permissions.apply(to: &node)
        try targets.apply(to: &node)
        if let incomingWrites { node.refusesEarlyWrites = incomingWrites == .refuse }
        node.index = index ?? node.index
        node.keepIndex = keepIndex.map { .seconds($0.seconds) } ?? node.keepIndex
        siteOptions.apply(to: &node)
        guard node.keepIndex == nil || node.index != nil else {
            throw ValidationError("--keep-index needs --index DIR.")
        }
        node.state = state ?? node.state
        node.hasDefaultState = node.state == DefaultPaths.state
        node.control = control ?? node.control
        node.metrics = metrics ?? node.metrics
        node.web = web ?? node.web
        LogThreshold.level = logLevel ?? node.logLevel ?? LogThreshold.standard
        return node
    }

    /// - Parameter configured: TLS settings from the files.
    /// - Throws: `ValidationError` if TLS is requested without certificates; the node must not fall back to plaintext.
    private func tlsConfiguration(_ configured: TLSConfiguration?) throws -> TLSConfiguration? {
        let mode = tlsMode ?? configured?.mode ?? .required
        let verifiesClients = tlsVerifyClient || configured?.verifiesClients ?? false
        if let tls { return TLSConfiguration(directory: tls, mode: mode, verifiesClients: verifiesClients) }
        if let configured {
            var tls = TLSConfiguration(files: configured.files, mode: mode, verifiesClients: verifiesClients)
            // Only nbd-server's file may allow clients without certificates, and only if no option contradicts.
            tls.letsUnverifiedIn = configured.letsUnverifiedIn && tlsMode == nil && !tlsVerifyClient
            return tls
        }
        if tlsVerifyClient { throw ValidationError("--tls-verify-client needs --tls DIR.") }
        if let tlsMode, tlsMode != .off { throw ValidationError("--tls-mode \(tlsMode.rawValue) needs --tls DIR.") }
        return nil
    }

    private static func monitoringAddress(_ text: String) throws -> MonitoringAddress {
        guard let address = MonitoringAddress(text) else {
            throw ValidationError("'\(text)' is not HOST:PORT, PORT or unix:PATH.")
        }
        return address
    }

    private static func tcpAddress(_ text: String) throws -> ListenAddress {
        guard let address = ListenAddress(tcp: text) else {
            throw ValidationError("'\(text)' is not HOST:PORT.")
        }
        return address
    }

    private func exportConfiguration(_ image: String) -> ExportConfiguration {
        var configuration = ExportConfiguration(
            backing: image, name: export ?? URL(fileURLWithPath: image).lastPathComponent, isReadOnly: readOnly,
            text: description ?? "", isDirect: direct, isDefault: true, dirtyBitmap: dirtyBitmap,
            identity: identity)
        configuration.format = format
        return configuration
    }
}

extension TLSConfiguration.Mode: ExpressibleByArgument {}
extension Logger.Level: @retroactive ExpressibleByArgument {}
