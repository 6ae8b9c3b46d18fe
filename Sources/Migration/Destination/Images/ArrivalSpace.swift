import Block
import BlockModel
import MigrationProtocol

/// Checks, before a disk is taken in, that there is room for it beside the others that are arriving.
struct ArrivalSpace: Sendable {
    /// The margin over the computed bytes, for the file system's own needs: docs/limits.md.
    private static let marginDivisor: UInt64 = 100
    private static let leastMargin: UInt64 = 256 << 10

    private let images: String
    private let state: String
    private let index: String?
    private var claims: [MigrationID: ArrivalClaim] = [:]

    /// - Parameters:
    ///   - images, state: folders.
    ///   - index: the index that is kept current with the disks of the node; nil for none.
    init(images: String, state: String, index: String?) {
        self.images = images
        self.state = state
        self.index = index
    }

    /// The claim of an offer; nil if its source does not say its size, or wants no check.
    /// - Parameter imagePath: the file or device of its image; nil if it is not known yet.
    func claim(for offer: Offer, imagePath: String?) -> ArrivalClaim? {
        guard let details = offer.details, let dataBytes = details.dataBytes else { return nil }
        return claim(
            imagePath, size: offer.size, blockSize: Int(offer.blockSize), dataBytes: dataBytes,
            besides: details.dataBesides)
    }

    /// The claim of a disk of which some blocks are here, and others have still to come.
    func claim(
        _ imagePath: String?, size: UInt64, blockSize: Int, dataBytes: UInt64, besides: UInt64 = 0
    ) -> ArrivalClaim? {
        guard let geometry = BlockGeometry(size: size, blockSize: blockSize) else { return nil }
        return ArrivalClaim(
            imagePath: imagePath, geometry: geometry, dataBytes: dataBytes, besides: besides, images: images,
            state: state, index: index)
    }

    /// Counts a claim from now on; nil claims nothing.
    mutating func add(_ claim: ArrivalClaim?, for migration: MigrationID) {
        if let claim { claims[migration] = claim }
    }

    /// Removes the claim of a disk that is here, or does not come.
    mutating func remove(_ migration: MigrationID) { claims[migration] = nil }

    /// - Throws: `MigrationError.noRoom` if there is too little room; `FileError` if that can't be told.
    func check(_ claim: ArrivalClaim, of export: String) throws {
        let others = claims.values.flatMap(\.parts)
        var seen: Set<UInt64> = []
        for part in claim.parts {
            let room = try FolderRoom(of: part.folder)
            guard seen.insert(room.device).inserted else { continue }
            let needed = Self.withMargin(Self.sum(claim.parts, on: room.device))
            let all = needed.addingClamped(Self.sum(others, on: room.device))
            guard all > room.free else { continue }
            let beside = all > needed ? ", \(Self.text(all)) with the other disks that are arriving," : ""
            throw MigrationError.noRoom(
                "No space left for \(export) in \(part.folder): \(Self.text(needed)) are needed\(beside) and "
                    + "\(Self.text(room.free)) are free; make room there, or migrate with --no-space-check")
        }
    }

    private static func sum(_ parts: [ArrivalClaim.Part], on device: UInt64) -> UInt64 {
        parts.reduce(0) { sum, part in
            (try? FolderRoom(of: part.folder))?.device == device ? sum.addingClamped(part.bytes) : sum
        }
    }

    private static func withMargin(_ bytes: UInt64) -> UInt64 {
        bytes.addingClamped(bytes / marginDivisor).addingClamped(leastMargin)
    }

    /// MiB, to a tenth.
    private static func text(_ bytes: UInt64) -> String {
        let tenths = bytes / (1 << 20) * 10 + bytes % (1 << 20) * 10 / (1 << 20)
        return "\(tenths / 10).\(tenths % 10) MiB"
    }
}
