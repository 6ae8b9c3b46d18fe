import ArgumentParser
import Foundation
import Logging
import NBDServer
import Node
import Peer

/// `nearblock serve`.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve a disk image over NBD, take in disks of other nodes, or both.",
        discussion: """
            Stays in the foreground, says on standard error when it is ready, and ends on SIGTERM or SIGINT after it \
            has finished what clients have asked for.
            """)

    @Argument(help: "The raw image or block device to serve.")
    var image: String?
    @Option(
        help: ArgumentHelp(
            "The name that clients ask for (default: the image's file name).", valueName: "name"))
    var export: String?
    @Flag(help: "Refuse writes.")
    var readOnly = false
    @Option(help: ArgumentHelp("Listen for NBD clients on a Unix socket.", valueName: "path"))
    var socket: String?
    @Option(
        help: ArgumentHelp(
            "Listen for NBD clients on TCP (default: 127.0.0.1:10809 where there is no --socket).",
            valueName: "host:port"))
    var listen: PeerAddress?
    @Option(
        help: ArgumentHelp(
            "Take in disks that other nodes move here; only on loopback until the link has TLS.",
            valueName: "host:port"))
    var peerListen: PeerAddress?
    @Option(help: ArgumentHelp("Where disks that are moved here go.", valueName: "dir"))
    var images: String?
    @Option(
        help: ArgumentHelp("The index of the neighbours that disks moved here may draw on.", valueName: "dir")
    )
    var index: String?
    @Option(help: ArgumentHelp("Where what must survive a restart is kept.", valueName: "dir"))
    var state = DefaultPaths.state
    @Option(
        help: ArgumentHelp(
            "The socket for commands to this node (default: \(DefaultPaths.control)).", valueName: "path"))
    var control: String?

    func validate() throws {
        if image == nil && peerListen == nil {
            throw ValidationError(
                "There is nothing to serve: give an IMAGE, or --peer-listen to take disks in.")
        }
        if peerListen != nil && images == nil {
            throw ValidationError("--peer-listen needs --images DIR, where disks that are moved here go.")
        }
        if image == nil && (export != nil || readOnly) {
            throw ValidationError("--export and --read-only are about an IMAGE, and there is none.")
        }
    }

    func run() async throws {
        LoggingSystem.bootstrap(StreamLogHandler.standardError)
        let logger = Logger(label: "nearblock")
        let signals = TerminationSignals()
        let node = try Node(configuration: nodeConfiguration, logger: logger)
        let addresses: [String]
        do {
            addresses = try await node.start()
        } catch {
            await node.stop()
            throw error
        }
        Terminal.report("ready: \(addresses.joined(separator: ", "))")
        await signals.first()
        await node.stop()
    }

    private var nodeConfiguration: NodeConfiguration {
        var node = NodeConfiguration(state: state, defaultControl: DefaultPaths.control)
        node.image = image.map { path in
            .init(path: path, export: export ?? (path as NSString).lastPathComponent, isReadOnly: readOnly)
        }
        if let socket { node.listen.append(.unix(path: socket)) }
        let tcp = listen ?? (socket == nil ? PeerAddress(host: "127.0.0.1", port: 10809) : nil)
        if let tcp { node.listen.append(.tcp(host: tcp.host, port: tcp.port)) }
        node.peerListen = peerListen
        node.images = images
        node.index = index
        node.control = control
        return node
    }
}
