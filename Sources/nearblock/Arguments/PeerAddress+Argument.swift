import ArgumentParser
import Peer

extension PeerAddress: ExpressibleByArgument {
    /// `HOST:PORT`.
    public init?(argument: String) {
        self.init(argument)
    }
}
