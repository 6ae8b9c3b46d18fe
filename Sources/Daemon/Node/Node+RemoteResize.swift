import Block
import StorageDaemon

/// Disks of other servers and of helpers that become larger while clients use them.
extension Node {
    /// Raises the size of an export for clients that connect from now on.
    /// - Parameter size: Bytes, for an image of a helper that is made larger; nil to take over the size that the server shows.
    /// - Throws: `NodeError` and others with the reason; the export then keeps its size.
    func resizeRemote(_ export: NodeExport, _ image: NBDDiskImage, to size: UInt64?) async throws {
        guard let configuration = export.configuration, let backing = export.backing else {
            throw NodeError.unusable(
                "\(export.name) has come by a migration into \(image.path); put it into the configuration, and start the node "
                    + "again first: nearblock export adopt \(export.name)")
        }
        let told = export.export.description.size
        if let size { try check(size, of: export, image, told: told) }
        try export.beginResizing()
        let result: Result<Void, any Error>
        do {
            try await backing.isHelped
                ? enlargeHelped(export, configuration, image, told: told, to: size)
                : takeOverServer(export, configuration, image, told: told)
            result = .success(())
        } catch { result = .failure(error) }
        export.endResizing()
        try result.get()
    }

    private func check(_ size: UInt64, of export: NodeExport, _ image: NBDDiskImage, told: UInt64) throws {
        guard image.source?.isFile == true else {
            throw NodeError.unusable(
                "\(image.path) is not a file here; make it larger by its own means, then: nearblock resize \(export.name)"
            )
        }
        guard !export.isReadOnly, image.isWritable else {
            throw NodeError.unusable("\(export.name) is read-only here; make \(image.path) larger by other means")
        }
        guard size > told else {
            throw NodeError.unusable(
                "\(export.name) has \(told) bytes, and a disk is only made larger, not \(size) bytes small")
        }
    }

    /// Lets another server's new connections show a larger disk.
    private func takeOverServer(
        _ export: NodeExport, _ configuration: ExportConfiguration, _ image: NBDDiskImage, told: UInt64
    ) async throws {
        let next = try await opener.open(configuration, losses: image.losses)
        do {
            guard next.size > told else { throw Self.notLarger(export, image, next.size, told) }
            try await behindFence(export) {
                // A server that was started again shows another disk to old connections, which can't be made again. Clients
                // then hear of it at their next flush.
                do { try await self.flush(image) } catch { image.losses.increment() }
                await self.install(next, in: export, configuration, told: told)
            }
        } catch {
            next.stop()
            throw error
        }
        image.stop()
    }

    /// Makes a helper's image larger, or sees whether it is. Only one helper can have it open, so requests wait meanwhile.
    private func enlargeHelped(
        _ export: NodeExport, _ configuration: ExportConfiguration, _ image: NBDDiskImage, told: UInt64,
        to size: UInt64?
    ) async throws {
        let old = export.backing
        try await behindFence(export) {
            try await self.flush(image)
            await old?.end()
            let growth = await self.grow(configuration, image, to: size)
            let next = try await self.openAgain(export, configuration, image)
            await self.install(next, in: export, configuration, told: told)
            image.stop()
            try growth.get()
            guard next.size > told else { throw Self.notLarger(export, image, next.size, told) }
        }
    }

    private func openAgain(
        _ export: NodeExport, _ configuration: ExportConfiguration, _ image: NBDDiskImage
    ) async throws -> Backing {
        do { return try await opener.open(configuration, losses: image.losses) } catch {
            let problem =
                "\(image.path) can't be opened again, and requests fail until the node is started again: \(error)"
            if export.setImageProblem(problem) { logger.error("\(export.name): \(problem)") }
            throw NodeError.unusable("\(export.name): \(problem)")
        }
    }

    private func grow(
        _ configuration: ExportConfiguration, _ image: NBDDiskImage, to size: UInt64?
    ) async -> Result<Void, any Error> {
        guard let size, let format = image.source?.format else { return .success(()) }
        do {
            let specification = try ImageSpecification(configuration.backing, format: format)
            try await BackingOpener.onThread { try ImageGrowth.grow(specification, to: size) }
            return .success(())
        } catch { return .failure(error) }
    }

    private func behindFence(_ export: NodeExport, _ body: @escaping () async throws -> Void) async throws {
        let disk = export.export.disk
        await disk.fence()
        let result: Result<Void, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        await disk.unfence()
        try result.get()
    }

    private func flush(_ image: NBDDiskImage) async throws {
        image.forgetLosses()
        try await pools.urgent.runIfActive { try image.synchronize() }
    }

    /// Puts another opening of the same disk under an export; only behind the fence.
    private func install(
        _ next: Backing, in export: NodeExport, _ configuration: ExportConfiguration, told: UInt64
    ) async {
        let disk = export.export.disk
        await disk.replaceDevice(next.device)
        guard let current = exports[export.name], current.backing?.image === export.backing?.image else { return }
        if next.size > told {
            disk.resize(to: next.size)
            // The map must cover the new end before clients learn the new size.
            await export.bitmap?.resize(to: next.size)
        }
        upkeep.end(of: export.name)
        await replace(current, with: current.configuration ?? configuration, on: next)
        guard next.size > told else { return }
        logger.notice(
            "\(export.name): \(configuration.backing) has \(next.size) bytes now and had \(told); new clients see that, and connected clients keep the old size"
        )
    }

    private static func notLarger(
        _ export: NodeExport, _ image: NBDDiskImage, _ found: UInt64, _ told: UInt64
    ) -> NodeError {
        .unusable(
            "\(image.path) has \(found) bytes, and \(export.name) has \(told) already; make the image larger first, or give a "
                + "size")
    }
}
