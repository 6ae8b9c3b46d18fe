import NBDServer
import Peer

/// What a node is to do; `nearblock serve` fills it in.
public struct NodeConfiguration: Sendable {
    /// A disk to serve from the start.
    public struct Image: Sendable {
        /// Its file.
        public var path: String
        /// The name that clients ask for.
        public var export: String
        /// Writes are refused.
        public var isReadOnly: Bool

        /// Describes a disk.
        public init(path: String, export: String, isReadOnly: Bool) {
            self.path = path
            self.export = export
            self.isReadOnly = isReadOnly
        }
    }

    /// The disk to serve from the start; nil for a node that only takes disks in.
    public var image: Image?
    /// Where NBD clients come in.
    public var listen: [ListenAddress] = []
    /// Where peers come in; nil for a node that takes no disks in.
    public var peerListen: PeerAddress?
    /// Where disks that arrive go.
    public var images: String?
    /// The index of the neighbours.
    public var index: String?
    /// Where what survives a restart is kept.
    public var state: String
    /// The control socket; nil for the default one, which is left out where another node has it.
    public var control: String?
    /// The default control socket.
    public var defaultControl: String

    /// A node that does nothing yet.
    public init(state: String, defaultControl: String) {
        self.state = state
        self.defaultControl = defaultControl
    }
}
