import NBDServer
import NIOConcurrencyHelpers

/// Notes what a server says of its clients.
final class ClientNotes: ClientObserver {
    private let notes = NIOLockedValueBox<[String]>([])

    var all: [String] { notes.withLockedValue { $0 } }

    func opened(_ export: String, by client: ClientAddress, isSecure: Bool) {
        note("\(Self.kind(client)) opened \(export)\(isSecure ? " with TLS" : "")")
    }

    func closed(_ export: String, by client: ClientAddress, _ end: ClientEnd, seconds: Double) {
        note("\(Self.kind(client)) closed \(export): \(end.rawValue)")
    }

    func refused(_ client: ClientAddress, _ refusal: ClientRefusal) {
        note("\(Self.kind(client)) refused: \(refusal.name)")
    }

    private func note(_ text: String) { notes.withLockedValue { $0.append(text) } }

    private static func kind(_ client: ClientAddress) -> String {
        switch client {
        case .tcp: "tcp"
        case .unix: "unix"
        case .vsock: "vsock"
        case .unknown: "unknown"
        }
    }
}
