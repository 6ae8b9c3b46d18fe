import Block
import StorageDaemon

/// Disks of other servers and of helpers that become larger while clients use them.
extension Node {
    /// Time for which requests wait for an image that can't be opened again, as they do for a server that is gone.
    private static let fenceLimit = Duration.seconds(30)
    private static let firstPause = Duration.milliseconds(100)
    private static let longestPause = Duration.seconds(2)

    /// Raises the size of an export for clients that connect from now on.
    /// - Parameter size: Bytes, for an image of a helper that is made larger; nil to take over the size that the server shows.
    /// - Throws: `NodeError` and others with the reason; the export then keeps its size.
    func resizeRemote(_ export: NodeExport, _ image: NBDDiskImage, to size: UInt64?) async throws {
        guard let configuration = export.configuration, let backing = export.backing else {
            throw NodeError.unusable(
                "\(export.name) has come by a migration into \(image.path); put it into the configuration, and start the node "
                    + "again first: nearblock export adopt \(export.name)")
        }
        let resize = RemoteResize(of: export, configuration, image)
        if let size { try check(size, of: export, image, told: resize.told) }
        // A reload may have replaced it since it was found.
        guard exports[export.name] === export else { throw NodeError.notReady(export.name) }
        try export.begin(resize.claim)
        try await backing.isHelped ? enlargeHelped(resize, backing, to: size) : takeOverServer(resize)
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
    private func takeOverServer(_ resize: RemoteResize) async throws {
        defer { resize.claim.release() }
        let image = resize.image
        let next = try await opener.open(resize.configuration, losses: image.losses)
        guard next.size > resize.told else {
            next.stop()
            throw Self.notLarger(resize, next.size)
        }
        await resize.disk.fence()
        // A server that was started again shows another disk to old connections, which can't be made again. Clients then
        // hear of it at their next flush.
        do { try await flush(image) } catch { image.losses.increment() }
        await install(next, resize)
        await resize.disk.unfence()
        image.stop()
    }

    /// Makes a helper's image larger, or sees whether it is. Only one helper can have it open, so requests wait meanwhile.
    private func enlargeHelped(_ resize: RemoteResize, _ old: Backing, to size: UInt64?) async throws {
        await resize.disk.fence()
        do { try await flush(resize.image) } catch {
            await resize.disk.unfence()
            resize.claim.release()
            throw error
        }
        await old.end()
        let growth = await grow(resize.configuration, resize.image, to: size)
        let next: Backing
        do { next = try await opener.open(resize.configuration, losses: resize.image.losses) } catch {
            let problem = tellUnopened(resize, error)
            tasks.append(Task { [weak self] in await self?.keepOpening(resize) })
            throw NodeError.unusable("\(resize.name): \(problem)")
        }
        await finish(resize, with: next)
        try growth.get()
        guard next.size > resize.told else { throw Self.notLarger(resize, next.size) }
    }

    /// Ends a resize whose disk is behind a fence.
    private func finish(_ resize: RemoteResize, with next: Backing) async {
        await install(next, resize)
        resize.image.stop()
        await resize.disk.unfence()
        resize.claim.release()
    }

    // MARK: Images that can't be opened again

    /// Opens an image that no helper has open any more, as soon as it can be opened. Requests wait behind the fence at first, and
    /// then fail.
    private func keepOpening(_ resize: RemoteResize) async {
        var next = await openRepeatedly(resize, until: .now + Self.fenceLimit)
        if next == nil {
            resize.image.stop()
            await resize.disk.unfence()
            next = await openRepeatedly(resize, until: nil)
            guard next != nil else { return resize.claim.release() }
            await resize.disk.fence()
        }
        guard let next else { return }
        await finish(resize, with: next)
        logger.notice("\(resize.name): \(resize.image.path) has been opened again")
    }

    /// - Returns: Nil if the time is over, or the node ends.
    private func openRepeatedly(_ resize: RemoteResize, until limit: ContinuousClock.Instant?) async -> Backing? {
        var pause = Self.firstPause
        while !isStopping, limit.map({ .now < $0 }) ?? true {
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, Self.longestPause)
            do { return try await opener.open(resize.configuration, losses: resize.image.losses) } catch {
                _ = tellUnopened(resize, error)
            }
        }
        return nil
    }

    /// Tells the operator why an image is not open, once for each reason.
    private func tellUnopened(_ resize: RemoteResize, _ error: any Error) -> String {
        let problem =
            "\(resize.image.path) can't be opened again, which is tried until it can be; requests wait for "
            + "\(Self.fenceLimit.components.seconds) s, and then fail: \(error)"
        let export = exports[resize.name] ?? resize.export
        if export.setImageProblem(problem) { logger.error("\(resize.name): \(problem)") }
        return problem
    }

    // MARK: Parts

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

    private func flush(_ image: NBDDiskImage) async throws {
        image.forgetLosses()
        try await pools.urgent.runIfActive { try image.synchronize() }
    }

    /// Puts another opening of the same disk under an export; only behind the fence.
    private func install(_ next: Backing, _ resize: RemoteResize) async {
        await resize.disk.replaceDevice(next.device)
        if next.size > resize.told {
            resize.disk.resize(to: next.size)
            // The map must cover the new end before clients learn the new size.
            await exports[resize.name]?.bitmap?.resize(to: next.size)
        }
        // A reload may have given the export other settings meanwhile, but not another image.
        guard let current = exports[resize.name], current.backing?.image === resize.image else { return }
        upkeep.end(of: resize.name)
        await replace(current, with: current.configuration ?? resize.configuration, on: next)
        guard next.size > resize.told else { return }
        logger.notice(
            "\(resize.name): \(resize.configuration.backing) has \(next.size) bytes now and had \(resize.told); new clients see that, and connected clients keep the old size"
        )
    }

    private static func notLarger(_ resize: RemoteResize, _ found: UInt64) -> NodeError {
        .unusable(
            "\(resize.image.path) has \(found) bytes, and \(resize.name) has \(resize.told) already; make the image larger "
                + "first, or give a size")
    }
}
