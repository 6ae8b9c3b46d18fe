import Block
import Foundation
import Glibc
import Monitoring
import NBDServer
import NIOCore
import NIOPosix
import PeerModel

/// HTTP for monitoring: metrics, and the page with the block map.
extension Node {
    /// Opens the addresses for monitoring.
    /// - Returns: A description of each.
    /// - Throws: `ListenError`; `FileError` if a Unix socket can't have the permissions.
    func startMonitoring() async throws -> [String] {
        var lines: [String] = []
        if let address = configuration.metrics {
            let metrics = NodeMetrics(
                tallies: tallies,
                index: configuration.index.map { IndexMetrics(directory: $0, pool: pools.background) })
            let route = WebRoute("/metrics") { [weak self] in
                guard let self else { return .document(mediaType: PrometheusText.mediaType, body: []) }
                return .document(mediaType: PrometheusText.mediaType, body: await metrics.text(of: self))
            }
            let bound = try await serve([route], at: address, isPage: false)
            lines.append("metrics on \(bound)")
        }
        if let address = configuration.web {
            let feed = BlockMapFeed(node: self, tallies: tallies, pool: pools.background)
            let bound = try await serve(
                BlockMapPage.routes { feed.events() }, at: address, isPage: true, headers: BlockMapPage.headers)
            lines.append(bound.isTCP ? "block map on http://\(bound)/" : "block map on \(bound)")
        }
        return lines
    }

    /// Serves paths at an address.
    /// - Parameter isPage: Whether browsers come, so that Host headers are checked at every address.
    /// - Returns: The address with the port that the kernel chose.
    func serve(
        _ routes: [WebRoute], at address: MonitoringAddress, isPage: Bool, headers: [(String, String)] = []
    ) async throws -> MonitoringAddress {
        let server = WebServer(routes: routes, hosts: Self.hosts(of: address, isPage: isPage), headers: headers)
        let bound: MonitoringAddress
        switch address {
        case .tcp(let tcp):
            do {
                let port = try await server.listen(host: tcp.host, port: tcp.port, on: group)
                bound = .tcp(PeerAddress(host: tcp.host, port: port))
            } catch {
                let reason = error.plainReason
                throw NodeError.unusable("cannot listen on \(tcp) for HTTP: \(reason); choose another address")
            }
            if !tcp.isLoopback {
                logger.warning(
                    "anyone who reaches \(bound) can read names, sizes and progress of the disks here; give a loopback address, or a Unix socket"
                )
            }
        case .unix(let path):
            let permissions = configuration.socketPermissions
            let descriptor = try await pools.urgent.runIfActive {
                try UnixListener.open(at: path, permissions: permissions, isPrivate: permissions != FilePermissions())
            }
            monitoringFiles.append(SocketFile(path: path))
            try await server.listen(on: descriptor, on: group)
            bound = address
        }
        monitoring.append(server)
        return bound
    }

    /// Ends HTTP.
    func stopMonitoring() async {
        for server in monitoring { await server.stop() }
        for file in monitoringFiles { file.remove() }
        (monitoring, monitoringFiles) = ([], [])
    }

    private static func hosts(of address: MonitoringAddress, isPage: Bool) -> HostRule {
        guard case .tcp(let tcp) = address else { return HostRule(.any) }
        if tcp.isLoopback { return HostRule(.loopbackAndNames, names: [tcp.host]) }
        return isPage
            ? HostRule(.addressesAndNames, names: [tcp.host, ProcessInfo.processInfo.hostName]) : HostRule(.any)
    }

    /// Looks at everything that is monitored.
    func observe() async -> NodeObservation {
        var statuses = await status()
        for (name, size) in registry?.blockMaps.arriving ?? [:] where !statuses.contains(where: { $0.export == name }) {
            statuses.append(ExportStatus(export: name, size: size, readOnly: false, state: "arriving"))
        }
        return NodeObservation(
            statuses: statuses,
            connections: exports.mapValues { $0.export.connections.current },
            missingBytes: registry?.blockMaps.missingBytes ?? [:],
            clients: server.connectionCount, finished: outcomes.finished, encryption: server.encryption,
            peers: transport.protection, site: siteMember?.view.figures)
    }
}
