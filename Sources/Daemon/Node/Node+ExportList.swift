import Block
import Foundation
import Migration
import NBDServer

/// The lives of disks that came by migration.
extension Node {
    /// Lists the exports with their origins, and what migrations have left behind.
    func exportList() async -> ExportList {
        let exports = await (status() + arriving()).map { entry($0) }.sorted { $0.export < $1.export }
        return ExportList(exports: exports, leftovers: await leftovers())
    }

    private func entry(_ status: ExportStatus) -> ExportList.Entry {
        let export = exports[status.export]
        let configured = export?.configuration ?? waiting[status.export]?.configuration
        let origin: ExportList.Origin =
            configured != nil ? .configuration : export?.backing != nil || status.arrival == nil ? .arrived : .arriving
        return ExportList.Entry(
            export: status.export,
            origin: status.condition == ExportCondition.incoming.rawValue
                ? ExportList.Origin.arriving.rawValue : origin.rawValue,
            condition: status.condition ?? "", size: status.size,
            image: configured?.backing ?? export?.backing?.image.path, readOnly: status.readOnly,
            clients: status.clients ?? 0)
    }

    private func leftovers() async -> [ExportList.Leftover] {
        let partial = await registry?.leftovers ?? []
        let records = (try? RecordKeeper(directory: state).list()) ?? []
        return partial.map { leftover in
            ExportList.Leftover(
                kind: "incoming", export: leftover.export, file: leftover.file, allocated: leftover.allocated,
                advice: "a new migration of \(leftover.export) goes on from it; if none will come, remove it")
        }
            + records.compactMap { record in
                guard record.isLost, let path = record.path else { return nil }
                let name = PlainText.line(record.export ?? path)
                return ExportList.Leftover(
                    kind: "record", export: record.export, file: record.file, allocated: nil,
                    advice:
                        "\(path) is gone: put it back, or, if it is lost or removed, nearblock export forget \(name)")
            }
    }

    /// Forgets an export that came by migration, or the records of images that are gone.
    /// - Parameter name: An export, or where no export has that name, that of a record or the path of its image.
    /// - Returns: The reply for the user.
    /// - Throws: `NodeError` if it can't be ended now; if records can't be removed.
    func forget(_ name: String) async throws -> ControlReply {
        if exports[name] == nil, waiting[name] == nil {
            let removed = try RecordKeeper(directory: state).removeLost(name)
            if let image = removed.first?.path {
                let files = removed.map(\.file).joined(separator: ", ")
                logger.notice("records of \(image), which is gone, are removed: \(files)")
                return .forgotten(image: image, removed: removed.map(\.file))
            }
        }
        let image = try await end(name)
        let remaining = try RecordKeeper(directory: state).records(ofImageAt: image)
        return .forgotten(image: image, remaining: remaining.isEmpty ? nil : remaining.map(\.file))
    }

    /// Ends the life of a disk that came by migration, and that the configuration does not name.
    /// - Returns: The path of its image, which stays.
    /// - Throws: `NodeError` if it can't be ended now.
    private func end(_ name: String) async throws -> String {
        let export = try find(name)
        let image = try checkMayForget(export)
        // New clients, commands and reloads must not find it while the registry is asked.
        table.remove(export.name)
        exports[export.name] = nil
        do {
            guard export.export.connections.current == 0 else { throw Self.inUse(export) }
            if let reason = try await registry?.retire(export.name) {
                throw NodeError.unusable("\(export.name) can't be forgotten: \(reason)")
            }
        } catch {
            exports[export.name] = export
            if !table.add(export.export) { logger.error("\(export.name) is not offered: its name has been taken") }
            throw error
        }
        upkeep.end(of: export.name)
        await close(export)
        logger.notice(
            "\(export.name) is no longer offered: the operator has ended it; its image stays at \(image.path)")
        return image.path
    }

    /// Closes the image of an export that is not offered any more.
    private func close(_ export: NodeExport) async {
        if !exports.values.contains(where: { $0.sharesLink(with: export) }) {
            export.stopForwarding()
            await export.waitUntilLinksEnded()
        }
        // The registry may still know the disk, whose device holds the image's lock.
        await export.export.disk.fence()
        await export.export.disk.replaceDevice(ClosedDevice())
        await export.export.disk.unfence()
    }

    /// Ends the forwarding of a disk that has moved, once the configuration does not name it and no client is left.
    /// - Returns: False if it stays.
    func withdrawMoved(_ export: NodeExport) async -> Bool {
        guard export.hasMoved, export.isReleased, export.export.connections.current == 0 else { return false }
        table.remove(export.name)
        exports[export.name] = nil
        upkeep.end(of: export.name)
        await close(export)
        return true
    }

    private func checkMayForget(_ export: NodeExport) throws -> any DiskImage {
        let name = export.name
        guard export.configuration == nil else {
            throw NodeError.unusable(
                "\(name) is in the node's configuration; take it out there, then run nearblock reload")
        }
        guard let image = export.backing?.image else {
            throw NodeError.unusable("\(name) is still arriving; to stop that: nearblock cancel \(name)")
        }
        if let purpose = export.claimed { throw purpose.refusal(of: name) }
        if let migration = export.migration { throw NodeError.alreadyMigrating(name, to: migration.destination) }
        if let onward = export.onward, onward.supply?.isReleased == false {
            throw NodeError.unusable(
                "\(name) has moved to \(onward.forward.destination), which still needs blocks of its image here")
        }
        guard export.export.connections.current == 0 else { throw Self.inUse(export) }
        return image
    }

    private static func inUse(_ export: NodeExport) -> NodeError {
        let count = export.export.connections.current
        let clients = count == 1 ? "a client; disconnect it" : "\(count) clients; disconnect them"
        return .unusable("\(export.name) has \(clients) first")
    }

    // MARK: Disks that are put into the configuration

    /// Applies the configuration to disks that came by migration and that it names since.
    func adopt(_ configured: [ExportConfiguration], _ report: inout ReloadReport) async {
        for configuration in configured {
            guard let export = exports[configuration.name], export.configuration == nil, let backing = export.backing,
                let image = backing.file
            else { continue }
            if let problem = await problem(adopting: export, image, as: configuration) {
                report.problems.append("\(export.name) stays as it came: \(problem)")
                logger.warning("\(export.name) stays as it came: \(problem)")
                continue
            }
            await replace(export, with: configuration)
            report.notes.append("\(export.name), which came by a migration, is served as the configuration says")
            logger.notice("\(export.name), which came by a migration, is served as the configuration says")
        }
    }

    /// Returns the reason why a configuration can't be applied to a disk that came; nil if it can.
    private func problem(
        adopting export: NodeExport, _ image: RawImage, as configuration: ExportConfiguration
    ) async -> String? {
        guard let there = try? ImageSighting(path: configuration.backing), (try? ImageSighting(of: image)) == there
        else { return "the configuration has another image, \(configuration.backing); it came as \(image.path)" }
        guard await registry?.arriving(export.name) == nil else {
            return "blocks of it are missing; run nearblock reload again when none is"
        }
        guard exports[export.name] === export, export.isAtRest else { return "it is moving or has moved" }
        guard !configuration.isDirect, configuration.isReadOnly == export.backing?.isReadOnly else {
            return "direct and read-only of a disk that came take effect when the node starts again"
        }
        return nil
    }

    /// Serves a disk that came by migration as it came: the configuration does not name it any more.
    /// - Returns: False if it did not come by migration.
    func disinherit(_ export: NodeExport) async -> Bool {
        guard await registry?.hasServed(export.name) == true, let image = export.backing?.image,
            exports[export.name] === export, export.isAtRest
        else { return false }
        await replace(
            export,
            with: ExportConfiguration(
                backing: image.path, name: export.name, isReadOnly: export.isReadOnly, dirtyBitmap: export.bitmap?.name),
            isConfigured: false)
        return true
    }
}
