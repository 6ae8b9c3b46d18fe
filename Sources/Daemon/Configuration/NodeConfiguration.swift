import Block
import NBDServer
import Peer

/// What a node is to do; `nearblock serve` fills it in.
public struct NodeConfiguration: Sendable {
    /// The disks to serve from the start.
    public var exports: [ExportConfiguration] = []
    /// Where NBD clients come in.
    public var listen: [ListenAddress] = []
    /// How they encrypt; nil for not at all.
    public var tls: TLSConfiguration?
    /// Whether clients are told which exports there are.
    public var listsExports = true
    /// Where peers come in; nil for a node that takes no disks in.
    public var peerListen: PeerAddress?
    /// The directory of the peer link's certificates; nil for that of NBD's, where there is one.
    public var peerTLS: String?
    /// Whether peers may be far away and yet unencrypted.
    public var allowsInsecurePeers = false
    /// Where disks that arrive go.
    public var images: String?
    /// Who may use images that are made for them.
    public var imagePermissions = FilePermissions()
    /// Who may use Unix sockets for NBD clients.
    public var socketPermissions = FilePermissions()
    /// The index of the neighbours.
    public var index: String?
    /// How old what the index has of this node's own exports may get; nil where it is not kept current.
    public var keepIndex: Duration?
    /// Whether writes to a disk that has not been handed over fail; otherwise they wait.
    public var refusesEarlyWrites = false
    /// Where what survives a restart is kept.
    public var state: String
    /// Whether `state` is where nodes keep things that are not told where to.
    public var hasDefaultState = false
    /// The control socket; nil for the default one, which is left out where another node has it.
    public var control: String?
    /// The default control socket; nil for none.
    public var defaultControl: String?

    /// Whether disks may come here or leave, so that no other node may use the state directory. A node that is told nothing
    /// and finds another one in the default places only serves.
    var needsState: Bool {
        control != nil || peerListen != nil || (defaultControl != nil && !hasDefaultState)
    }

    /// - Throws: `NodeError` where an export is for encrypted clients only and nobody can encrypt; where certificates are asked
    ///   for and keep nobody out.
    func checkEncryption() throws {
        if let tls, tls.mode != .required, tls.verifiesClients, !tls.letsUnverifiedIn,
            !exports.contains(where: \.requiresTLS)
        {
            throw NodeError.unusable(
                "clients have to show a certificate (tls-verify-client), but get in without TLS and so without one "
                    + "(tls-mode \(tls.mode)); give --tls-mode required, or leave --tls-verify-client out")
        }
        guard tls.map({ $0.mode == .off }) ?? true, let export = exports.first(where: \.requiresTLS) else { return }
        throw NodeError.unusable("\(export.name) requires TLS, and there is none: give --tls DIR, or tls in [node]")
    }

    /// Reads the certificates of the peer link.
    /// - Throws: `PeerError.certificates`.
    func openPeerProtection() throws -> PeerProtection {
        if allowsInsecurePeers { return .insecure }
        if let peerTLS { return .tls(try PeerCertificates(directory: peerTLS)) }
        guard let directory = tls?.files.directory else { return .loopback }
        do {
            return .tls(try PeerCertificates(directory: directory))
        } catch {
            // Who only serves NBD needs no certificates for peers; but the link must not fall back to the clear.
            return .unusable(error)
        }
    }

    /// A node that does nothing yet.
    public init(state: String, defaultControl: String?) {
        self.state = state
        self.defaultControl = defaultControl
    }
}
