import Block
import Logging
import Migration
import Monitoring
import NBDServer
import Peer
import PeerModel
import TLS

/// Configuration of a node, from the command line or a file.
public struct NodeConfiguration: Sendable {
    /// Disks to serve from the start.
    public var exports: [ExportConfiguration] = []
    /// Addresses for NBD clients.
    public var listen: [ListenAddress] = []
    /// TLS for NBD clients; nil for none.
    public var tls: TLSConfiguration?
    /// Whether clients may list the exports.
    public var listsExports = true
    /// Address for peers; nil if the node takes no disks in.
    public var peerListen: PeerAddress?
    /// A listening socket for peers that a service manager has passed on, which has the address `peerListen`; nil to open
    /// one.
    public var peerSocket: CInt?
    /// Whether migrations that have not been switched over when the node is stopped go on at its next start; otherwise they
    /// are cancelled.
    public var keepsMigrations = false
    /// Directory with the peer link's certificates; nil for that of `tls`, if there is one.
    public var peerTLS: String?
    /// Whether unencrypted peers are allowed on other addresses than loopback.
    public var allowsInsecurePeers = false
    /// Directory for images of arriving disks; nil if the node takes no disks in.
    public var images: String?
    /// Commands that make the places of arriving disks, and release them; empty for the images directory.
    public var targets = TargetPolicy()
    /// Folder of the sockets on which hypervisors wait for guests' memory; nil if the node takes none.
    public var memoryDirectory: String?
    /// Mode and group of created images.
    public var imagePermissions = FilePermissions()
    /// Mode and group of Unix sockets for NBD clients.
    public var socketPermissions = FilePermissions()
    /// Directory of the index; nil for none.
    public var index: String?
    /// Interval at which the index is brought up to date for this node's exports; nil for never.
    public var keepIndex: Duration?
    /// The site whose other hosts lend and borrow neighbours.
    package var site = SiteConfiguration()
    /// Whether writes to a disk fail before its switchover; otherwise they wait.
    public var refusesEarlyWrites = false
    /// Directory of the records that survive a restart.
    public var state: String
    /// Whether `state` is the default directory.
    public var hasDefaultState = false
    /// Path of the control socket. Nil for the default one, which is omitted if another node has it.
    public var control: String?
    /// Path of the default control socket; nil for none.
    public var defaultControl: String?
    /// Address for Prometheus; nil for none.
    public var metrics: MonitoringAddress?
    /// Address of the page with the block map; nil for none.
    public var web: MonitoringAddress?
    /// The least important log lines that are written; nil for the default.
    public var logLevel: Logger.Level?

    /// Whether requests are counted.
    var isMonitored: Bool { metrics != nil || web != nil }

    /// Whether disks may arrive or leave, so that no other node may use the state directory. A node without such
    /// options that finds another one at the default places only serves.
    var needsState: Bool {
        control != nil || peerListen != nil || (defaultControl != nil && !hasDefaultState)
    }

    /// Checks that TLS options fit together.
    /// - Throws: `NodeError` if an export requires TLS and there is none, or if client certificates are required but
    ///   can be avoided.
    public func checkEncryption() throws {
        if let tls, tls.mode != .required, tls.verifiesClients, !tls.letsUnverifiedIn,
            !exports.contains(where: \.requiresTLS)
        {
            throw NodeError.unusable(
                "clients must show a certificate (tls-verify-client), but may connect without TLS and so without one "
                    + "(tls-mode \(tls.mode)); give --tls-mode required, or leave --tls-verify-client out")
        }
        guard tls.map({ $0.mode == .off }) ?? true, let export = exports.first(where: \.requiresTLS) else { return }
        throw NodeError.unusable("\(export.name) requires TLS, and there is none: give --tls DIR, or tls in [node]")
    }

    /// Returns a message if clients elsewhere may write without TLS; nil if none can. The addresses of inherited sockets
    /// are not known.
    public var plaintextProblem: String? {
        guard tls.map({ $0.mode != .required }) ?? true,
            exports.isEmpty || exports.contains(where: { !$0.isReadOnly && !$0.requiresTLS }),
            let open = listen.first(where: { address in
                guard case .tcp(let host, let port) = address else { return false }
                return !PeerAddress(host: host, port: port).isLoopback
            })
        else { return nil }
        return "anyone who reaches \(open) can read and write disks: give --tls DIR --tls-mode required "
            + "--tls-verify-client, or listen on loopback or a Unix socket"
    }

    /// Reads the certificates of the peer link.
    /// - Throws: `PeerError.certificates` if `peerTLS` is set and can't be read.
    public func openPeerProtection() throws -> PeerProtection {
        if allowsInsecurePeers { return .insecure }
        if let peerTLS { return .tls(try PeerCertificates(directory: peerTLS)) }
        guard let directory = tls?.files.directory else { return .loopback }
        do {
            return .tls(try PeerCertificates(directory: directory))
        } catch {
            // A node that only serves NBD needs no certificates for peers, but the peer link must not fall back to
            // plaintext.
            return .unusable(error)
        }
    }

    /// Looks at the certificates for clients and peers, and at who can read their keys; files that can't be read have no
    /// problems. Blocks the thread.
    func certificateProblems() -> [CertificateProblem] {
        var files: [TLSFiles] = []
        if let tls, tls.mode != .off { files.append(tls.files) }
        if !allowsInsecurePeers, let directory = peerTLS ?? tls?.files.directory {
            files += [TLSSide.server, .client].map { TLSFiles(directory: directory, side: $0) }
        }
        var problems: [CertificateProblem] = []
        for problem in files.flatMap({ $0.problems() }) where !problems.contains(problem) {
            problems.append(problem)
        }
        return problems
    }

    /// Creates the configuration of a node without exports and addresses.
    public init(state: String, defaultControl: String?) {
        self.state = state
        self.defaultControl = defaultControl
    }
}
