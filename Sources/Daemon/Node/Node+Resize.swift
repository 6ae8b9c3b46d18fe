import Block

/// Exports that become larger while clients use them.
extension Node {
    /// Raises the size of an export for clients that connect from now on.
    /// - Parameter size: Bytes, for a file that is made longer; nil to take over the size that the image has grown to.
    /// - Throws: `NodeError` or `FileError` with the reason; the export then keeps its size.
    func resize(_ name: String, to size: UInt64?) async throws {
        let export = try find(name)
        try export.checkIsFree()
        if let remote = export.backing?.remote, await registry?.arriving(export.name) == nil, !export.isHeldBack {
            return try await resizeRemote(export, remote, to: size)
        }
        let image = try await imageToResize(of: export)
        let told = export.export.description.size
        let found = try image.currentSize()
        if let size {
            try check(size, of: export, image, told: told, found: found)
            try await pools.urgent.runIfActive {
                let grown = export.whileUnclaimed { Result { try image.growFile(to: size) } }
                guard let grown else { throw NodeError.notReady(export.name) }
                try grown.get()
            }
        } else if found <= told {
            throw NodeError.unusable(
                "\(image.path) has \(found) bytes, and \(export.name) has \(told) already; make the file or device longer "
                    + "first, or give a size")
        }
        guard exports[export.name] === export, export.isAtRest, export.export.description.size == told else {
            throw NodeError.notReady(export.name)
        }
        await resize(export, image, from: told, to: size ?? found)
        // Other exports of the same file.
        lookAtAll()
        if let problem = exports[export.name]?.imageProblem { throw NodeError.unusable("\(export.name): \(problem)") }
    }

    /// - Throws: `NodeError` if the export can't change its size now.
    private func imageToResize(of export: NodeExport) async throws -> RawImage {
        try export.checkIsFree()
        guard let backing = export.backing, await registry?.arriving(export.name) == nil, !export.isHeldBack else {
            throw NodeError.isArriving(export.name)
        }
        guard let image = backing.file else { throw NodeError.isArriving(export.name) }
        guard !image.hasFixedSize else {
            throw NodeError.unusable(
                "\(image.path) may be larger than \(export.name), whose \(export.export.description.size) bytes were set "
                    + "when it was configured, or when its place was made")
        }
        guard image.isAtPath else {
            throw NodeError.unusable("\(image.path) is another file now; \(export.name) keeps its size")
        }
        return image
    }

    private func check(
        _ size: UInt64, of export: NodeExport, _ image: RawImage, told: UInt64, found: UInt64
    ) throws {
        guard !export.isReadOnly, image.isWritable else {
            throw NodeError.unusable("\(export.name) is read-only here; make \(image.path) longer by other means")
        }
        guard !image.isBlockDevice else {
            throw NodeError.unusable(
                "\(image.path) is a device; make it larger, then: nearblock resize \(export.name)")
        }
        guard size > told else {
            throw NodeError.unusable(
                "\(export.name) has \(told) bytes, and a disk is only made larger, not \(size) bytes small; give more than it has"
            )
        }
        guard size >= found else {
            throw NodeError.unusable(
                "\(image.path) has \(found) bytes already; to take them over: nearblock resize \(export.name)")
        }
    }
}
