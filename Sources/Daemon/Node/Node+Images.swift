import Block

/// Images that are replaced or resized while the node serves them.
extension Node {
    /// Images that are looked at together.
    private static let looksAtOnce = 8

    /// Lets each new client of an export wait for a look at the image's path.
    func watch(_ export: NodeExport) {
        guard let image = export.backing?.file else { return }
        let size = export.export.description.size
        let configured = export.configuration?.backing
        let path: @Sendable () -> String = { configured ?? image.path }
        image.whenCut { [logger, path = path()] in
            logger.error(
                "\(path) has been cut short from \(size) to \($0) bytes; requests beyond that fail with an I/O error"
            )
        }
        image.whenFlushFails { [logger, name = export.name] failure in
            // The loop that serves clients must not wait for the log.
            Task { logger.critical("\(name): \(NodeExport.problem(of: failure))") }
        }
        let lookout = ImageLookout(image: image, path: path, told: size) {
            [weak self, weak export] change in
            guard let self, let export else { return nil }
            return await respond(to: change, of: export, image, at: path())
        }
        export.export.watch(with: lookout)
    }

    /// Starts to look at the images of all exports, a few at a time; does not wait.
    func lookAtAll() {
        let lookouts = exports.values.compactMap(\.watcher)
        Task {
            await withTaskGroup(of: Void.self) { group in
                for (index, lookout) in lookouts.enumerated() {
                    if index >= Self.looksAtOnce { await group.next() }
                    group.addTask { _ = await lookout.look() }
                }
            }
        }
    }

    /// Responds to a change of an export's image.
    /// - Returns: The reason to refuse new clients; nil to accept them.
    private func respond(
        to change: ImageChange, of export: NodeExport, _ image: RawImage, at path: String
    ) async -> String? {
        // If another export has the name by now, its image has just been opened.
        guard exports[export.name] === export else { return nil }
        let situation = export.situation(at: path)
        switch ImageResponse(to: change, in: situation) {
        case .serve:
            _ = export.setImageProblem(nil)
            return nil
        case .keep(let problem):
            image.lookAtEnd()
            if export.setImageProblem(problem) { logger.warning("\(export.name): \(problem)") }
            return nil
        case .refuse(let problem):
            image.lookAtEnd()
            return refuse(export, problem)
        case .reopen:
            return await reopen(export, at: path)
        case .resize(let size):
            await resize(export, image, from: situation.told, to: size)
            return nil
        }
    }

    private func refuse(_ export: NodeExport, _ problem: String) -> String {
        if export.setImageProblem(problem) { logger.error("\(export.name): \(problem)") }
        return "the image of this export can't be opened now"
    }

    private func reopen(_ export: NodeExport, at path: String) async -> String? {
        guard let configuration = export.configuration else { return nil }
        do {
            try await open(configuration, replacing: export)
            logger.warning(
                "\(export.name): \(path) is another file now; new clients get that, and connected clients keep theirs")
            return nil
        } catch {
            return refuse(export, "\(path) is another file now, and new clients are refused: \(error)")
        }
    }

    /// Changes the size of an export. Old and new clients keep one disk, so that its maps have the writes of all.
    func resize(_ export: NodeExport, _ image: RawImage, from told: UInt64, to size: UInt64) async {
        let configuration =
            export.configuration
            ?? ExportConfiguration(
                backing: image.path, name: export.name, isReadOnly: export.isReadOnly, dirtyBitmap: export.bitmap?.name)
        do {
            image.lookAtEnd()
            try image.resize(to: size)
        } catch {
            let problem = "\(configuration.backing) has \(size) bytes now; the export keeps its \(told): \(error)"
            if export.setImageProblem(problem) { logger.warning("\(export.name): \(problem)") }
            return
        }
        export.export.disk.resize(to: size)
        // The map must cover the new end before clients learn the new size.
        if size > told { await export.bitmap?.resize(to: size) }
        // A migration that started meanwhile uses the new size; clients see it when that has ended.
        guard exports[export.name] === export, export.isAtRest else { return }
        upkeep.end(of: export.name)
        await replace(export, with: configuration, isConfigured: export.configuration != nil)
        if size < told { await export.bitmap?.resize(to: size) }
        logger.notice(
            "\(export.name): \(configuration.backing) has \(size) bytes now and had \(told); new clients see that, and connected clients keep the old size"
        )
    }
}
