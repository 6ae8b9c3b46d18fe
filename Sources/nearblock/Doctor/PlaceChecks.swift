import Configuration
import Daemon
import Foundation
import NBDServer
import PeerModel

/// Looks at the directories and ports of a node.
struct PlaceChecks {
    /// Less room than this, and less than a twentieth of the file system, gets a warning.
    private static let littleRoom: UInt64 = 10 << 30
    private static let smallestRoom: UInt64 = 64 << 20

    let node: NodeConfiguration
    /// Whether a node answers on the control socket: it then has the ports.
    let isRunning: Bool
    let judgement: Judgement

    func findings() -> [DoctorFinding] {
        var findings = [room("state", node.state)]
        if let images = node.images { findings.append(room("images", images)) }
        if let index = node.index { findings.append(room("index", index)) }
        return findings + ports()
    }

    private func room(_ check: String, _ path: String) -> DoctorFinding {
        if let problem = PathCheck.problem(withDirectory: path, made: judgement.service?.madeDirectories ?? []) {
            return .fault(
                check, problem, do: "give the directory to the node's user, or name that user with --user")
        }
        // A directory that is not there is made on the file system of the one above it.
        var place = URL(fileURLWithPath: path)
        var system = statvfs()
        while statvfs(place.path, &system) != 0, place.path != "/" { place.deleteLastPathComponent() }
        let unit = UInt64(system.f_frsize)
        let (free, total) = (UInt64(system.f_bavail) * unit, UInt64(system.f_blocks) * unit)
        let text = "\(path): \(Format.bytes(free)) of \(Format.bytes(total)) are free"
        let advice = "free some room, or move the directory to a larger file system"
        if free < Self.smallestRoom { return .fault(check, text, do: advice) }
        if free < Self.littleRoom, free < total / 20 { return .warning(check, text, do: advice) }
        return .ok(check, text)
    }

    private func ports() -> [DoctorFinding] {
        let sockets = judgement.service?.sockets ?? []
        // The check of the configuration names addresses that systemd has too.
        var addresses = node.listen.filter { address in !sockets.contains { $0.takes(address) } }.compactMap {
            address -> (String, UInt16)? in
            if case .tcp(let host, let port) = address { (host, port) } else { nil }
        }
        if node.listen.isEmpty, judgement.service?.listensForClients != true { addresses.append(("127.0.0.1", 10809)) }
        if let peer = node.peerListen, judgement.service?.peerAddress == nil {
            addresses.append((peer.host, peer.port))
        }
        return sockets.map(listening) + addresses.filter { $0.1 != 0 }.map { port($0.0, $0.1) }
    }

    private func listening(_ socket: ServiceSocket) -> DoctorFinding {
        let names = socket.addresses.map(\.description).joined(separator: ", ")
        return .ok("port", "\(names): systemd listens for \(socket.isForPeers ? "peers" : "clients") (\(socket.unit))")
    }

    private func port(_ host: String, _ port: UInt16) -> DoctorFinding {
        let name = ListenAddress.tcp(host: host, port: port).description
        guard let problem = PortProbe.problem(host: host, port: port) else { return .ok("port", "\(name) is free") }
        if problem == EADDRINUSE, isRunning { return .ok("port", "\(name) is in use, and a node runs here") }
        let reason = String(cString: strerror(problem))
        let advice =
            problem == EADDRINUSE
            ? "find its user with ss -ltnp 'sport = :\(port)', or choose another port"
            : "give an address of this machine, and a port that the node's user may use"
        return .fault("port", "\(name) can't be listened on: \(reason)", do: advice)
    }
}
