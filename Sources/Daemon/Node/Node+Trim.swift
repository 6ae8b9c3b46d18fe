import Block

/// Trims of disks whose guests are shut down.
extension Node {
    /// Punches the free blocks of an export's file systems that were unmounted cleanly.
    /// - Parameters:
    ///   - isDryRun: Whether to say only what would be punched.
    ///   - isGuestOff: As in `DiskTrim`.
    ///   - progress: Called after each piece.
    /// - Throws: `NodeError` with the reason; `CancellationError`. What has been punched by then stays so.
    func trim(
        _ name: String, isDryRun: Bool, isGuestOff: Bool, progress: @escaping @Sendable (TrimProgress) -> Void
    ) async throws -> TrimReport {
        let (export, image) = try await findForTrim(name)
        let claim = ExportClaim(for: .trim)
        try export.begin(claim)
        defer { claim.release() }
        if await registry?.isForwardedTo(export.name) == true {
            throw NodeError.unusable(
                "\(export.name) has clients at another node, which forwards them here; stop that node's export first")
        }
        let trim = DiskTrim(
            name: export.name, disk: export.export.disk, image: image, loop: loops[0], isDryRun: isDryRun,
            isGuestOff: isGuestOff, isUnused: { [connections = export.export.connections] in connections.current == 0 })
        let report = try await trim.run(progress: progress)
        if !isDryRun { logger.notice("\(export.name): \(report.punched) bytes of free blocks have been punched") }
        return report
    }

    private func findForTrim(_ name: String) async throws -> (NodeExport, RawImage) {
        if try await find(name).watcher?.look() != nil {
            throw NodeError.unusable(try find(name).imageProblem ?? "the image of \(name) can't be opened")
        }
        let export = try find(name)
        guard await registry?.arriving(export.name) == nil, exports[export.name] === export, !export.isHeldBack,
            let backing = export.backing
        else { throw NodeError.isArriving(export.name) }
        try export.checkIsFree()
        try checkGoesOn()
        guard !export.isReadOnly, backing.image.isWritable else {
            throw NodeError.unusable("\(export.name) is read-only here; trim the export that may write to its image")
        }
        guard let image = backing.file else {
            throw NodeError.unusable(
                "\(export.name) is not a raw file or device of its own, so its file systems can't be read; let the guest "
                    + "trim it")
        }
        // Another export of the same bytes has clients and writes of its own.
        guard try SharedImages(exports: Array(exports.values)).others(of: export).allSatisfy(\.isReadOnly) else {
            throw NodeError.unusable(
                "\(export.name) is one of several exports that may write to its image; take the others out first")
        }
        return (export, image)
    }
}
