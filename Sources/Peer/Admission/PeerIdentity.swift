import NIOCore

/// The peer at the other end of a connection, for limits: its certificate, or its address if it has shown none.
public enum PeerIdentity: Hashable, Sendable, CustomStringConvertible {
    /// The certificate, in DER.
    case certificate([UInt8])
    /// The numeric address; of IPv6 the 64-bit network, of which one machine may have every address.
    case address(String)

    /// Words for a log, without the bytes of a certificate.
    public var description: String {
        switch self {
        case .certificate: "a peer with a certificate"
        case .address(let address): address
        }
    }

    /// Reads the peer's certificate, on the channel's event loop and after the handshake.
    init(of channel: any Channel) {
        let encryption = try? channel.pipeline.syncOperations.handler(type: TLSHandler.self)
        if let certificate = encryption?.peerCertificate {
            self = .certificate(certificate)
        } else {
            self.init(of: channel.remoteAddress)
        }
    }

    init(of address: SocketAddress?) {
        switch address {
        case .v6(let v6):
            let network = withUnsafeBytes(of: v6.address.sin6_addr) { Array($0.prefix(8)) }
            // An IPv4-mapped address stands for one machine.
            let isMapped = network.allSatisfy { $0 == 0 }
            self = .address(isMapped ? address?.ipAddress ?? "" : network.map { String($0) }.joined(separator: ":"))
        default: self = .address(address?.ipAddress ?? "")
        }
    }
}
