import Block
import Index
import Migration
import NBDServer
import NIOConcurrencyHelpers
import Peer
import PeerModel
import Site

/// Listening for peers and for commands.
extension Node {
    /// Listens for peers, and resumes the arrivals of earlier processes.
    /// - Returns: The bound address; nil if the node takes no disks in.
    func startPeer() async throws -> PeerAddress? {
        guard let address = configuration.peerListen else {
            guard configuration.targets.isEmpty else {
                throw NodeError.missingOption(
                    "--prepare", needs: "--peer-listen HOST:PORT, for the nodes that send disks")
            }
            guard configuration.site.store == nil else {
                throw NodeError.missingOption(
                    "--site", needs: "--peer-listen HOST:PORT, where the other hosts read images")
            }
            guard configuration.memoryDirectory == nil else {
                throw NodeError.missingOption(
                    "--memory-dir", needs: "--peer-listen HOST:PORT, for the nodes that send memory")
            }
            return nil
        }
        guard let images = configuration.images else {
            throw NodeError.missingOption("--peer-listen", needs: "--images DIR, the directory for images that arrive")
        }
        let member = NIOLockedValueBox<SiteMember?>(nil)
        let findsNeighbours: @Sendable () -> SiteTables? = { member.withLockedValue { $0 }?.view.tables }
        let registry = try makeRegistry(images, findsNeighbours)
        try await registry.restore()
        self.registry = registry
        for export in exports.values { await tellPredecessors(of: export) }
        if await !registry.unserved.isEmpty { tasks.append(Task { await retryUnserved(registry) }) }
        let loop = loops[0]
        let listener = try await PeerListener(
            on: address, inherited: configuration.peerSocket, transport: transport)
        let site = try joinSite(listensOn: listener.address)
        member.withLockedValue { $0 = site }
        siteMember = site
        let migrations = DestinationMigration(
            registry: registry, indexDirectory: configuration.index, pools: pools, logger: peerLogger,
            site: findsNeighbours, arrivals: site.map { arrivals(in: $0) },
            memory: try configuration.memoryDirectory.map { try MemoryDirectory(path: $0) },
            lender: site.map { SiteLender(directory: configuration.index ?? "", view: $0.view) },
            lendingPace: LendingPace(bytesPerSecond: configuration.site.bytesPerSecond) { [server] in
                server.clientsNeedCores
            },
            hasRoom: { DescriptorReserve.inUse < DescriptorReserve.current.migrations },
            isOwn: { [transport] in transport.hasOpened($0) }
        ) { DiskClient(disk: $0, loop: loop) }
        let logger = logger
        tasks.append(
            Task {
                await listener.run(refused: { from, reason in
                    let peer = from.map { "at \($0)" } ?? "that has hung up already"
                    logger.notice("a peer \(peer) is not let in: \(reason)")
                }) {
                    guard DescriptorReserve.lowestFree < DescriptorReserve.current.peers else { return }
                    await migrations.serve($0)
                }
            })
        if let site { siteTask = Task { [logger] in await SiteTask(member: site, logger: logger).run() } }
        if case .insecure = transport.protection, !address.isLoopback {
            logger.warning("anyone who reaches \(listener.address) can read disks that arrive, and send disks here")
        }
        peerAddress = listener.address
        return listener.address
    }

    /// Serves disks that came to an earlier process as soon as their images can be opened.
    private func retryUnserved(_ registry: IncomingDiskRegistry) async {
        while (try? await Task.sleep(for: WaitingExport.pause)) != nil, !isStopping {
            // A configured export is opened as its configuration says.
            let served = await registry.retryUnserved(except: Set(waiting.keys))
            for name in served {
                if let export = exports[name] { await tellPredecessors(of: export) }
            }
            if !served.isEmpty { await resumeMigrations() }
            if await registry.unserved.isEmpty { return }
        }
    }

    /// - Parameter site: Finds neighbours on other hosts.
    private func makeRegistry(
        _ images: String, _ site: @escaping @Sendable () -> SiteTables?
    ) throws -> IncomingDiskRegistry {
        let index = configuration.index
        return try IncomingDiskRegistry(
            images: images, state: state, pools: pools, logger: peerLogger,
            index: { index.flatMap { try? NeighbourIndex.open(directory: $0).joined(with: site()) } },
            keptIndex: configuration.keepIndex == nil ? nil : index,
            refusesEarlyWrites: configuration.refusesEarlyWrites, permissions: configuration.imagePermissions,
            targets: configuration.targets, host: NodeIncomingDisks(node: self, table: table, heldBack: heldBack))
    }

    /// Listens for commands.
    /// - Returns: The path of the socket; nil if the node has none.
    func startControl() async throws -> String? {
        guard stateLock != nil || configuration.needsState else { return nil }
        guard let path = configuration.control ?? configuration.defaultControl else { return nil }
        do {
            let control = try await ControlServer(
                path: path, isDefault: configuration.control == nil, group: group, node: self)
            tasks.append(Task { await control.run() })
            return path
        } catch  where configuration.control == nil {
            logger.warning(
                "no control socket, so no migrations from here: \(error.plainReason); give one with --control PATH")
            return nil
        }
    }
}
