import ArgumentParser
import Peer
import PeerModel

extension PeerAddress: ExpressibleByArgument {
    /// `HOST:PORT`.
    public init?(argument: String) {
        self.init(argument)
    }
}
