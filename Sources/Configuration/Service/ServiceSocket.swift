import NBDServer
import PeerModel

/// Sockets that systemd opens for a service; systemd.socket(5).
public struct ServiceSocket: Sendable {
    /// Value of `FileDescriptorName=` for a socket on which peers connect.
    private static let peerName = "peer"

    /// The unit, such as `nearblock.socket`.
    public let unit: String
    /// Whether peers connect on it; otherwise NBD clients do.
    public let isForPeers: Bool
    /// The addresses of its streams, as far as nearblock knows their form.
    public let addresses: [ListenAddress]

    /// The sockets of a service that come up with the machine or with the service.
    static func all(of service: UnitFile) -> [ServiceSocket] {
        let pulled = Set(
            ["Wants", "Requires"].flatMap { service.words($0, in: "Unit") }
                + service.words("Sockets", in: "Service"))
        return UnitFile.all(withSuffix: ".socket").compactMap { name in
            guard let unit = UnitFile(name), unit.isEnabled || pulled.contains(name) else {
                return nil
            }
            let own = String(name.dropLast(".socket".count)) + ".service"
            guard (unit.value("Service", in: "Socket") ?? own) == service.name else { return nil }
            return ServiceSocket(unit)
        }
    }

    private init(_ file: UnitFile) {
        unit = file.name
        isForPeers = file.value("FileDescriptorName", in: "Socket") == Self.peerName
        addresses = file.list("ListenStream", in: "Socket").compactMap(Self.address)
    }

    private static func address(_ text: String) -> ListenAddress? {
        if text.hasPrefix("/") { return .unix(path: text) }
        if let port = UInt16(text) { return .tcp(host: "", port: port) }
        return ListenAddress(tcp: text)
    }

    /// The address for peers; nil if it has none, or is for NBD clients.
    var peerAddress: PeerAddress? {
        guard isForPeers, case .tcp(let host, let port)? = addresses.first else { return nil }
        return PeerAddress(host: host.isEmpty ? "::" : host, port: port)
    }

    /// Whether a server could not listen on an address beside it.
    public func takes(_ address: ListenAddress) -> Bool {
        addresses.contains { own in
            switch (own, address) {
            case (.tcp(let host, let port), .tcp(let other, let otherPort)):
                port == otherPort && (host == other || Self.isAny(host) || Self.isAny(other))
            default: own == address
            }
        }
    }

    private static func isAny(_ host: String) -> Bool {
        host.isEmpty || PeerAddress(host: host, port: 0).isWildcard
    }
}
