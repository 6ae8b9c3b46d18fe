import Block
import BlockModel
import Glibc
import Hashing
import Index
import MigrationCore
import MigrationProtocol

/// Blocks that are found here or come from the source, and their way into the image.
extension PostCopy {
    // MARK: Messages

    /// Takes a message of the source. The next one of that channel is taken once this returns.
    /// - Throws: why the channel must end.
    func receive(_ message: Message, on kind: PostCopyChannel) async throws {
        for action in try decide({ try $0.receive(message, on: kind) }) {
            switch action {
            case .store(let received):
                try await pool(for: kind).runIfActive { [self] in try store(received) }
                step { $0.stored(received) }
            case .record(let description):
                try await pool(for: kind).runIfActive { [self] in try record(description) }
                step { $0.described(description) }
            case .recordCompletion(let ledger):
                do { try await parts.complete(ledger) } catch {
                    ask { $0.completionFailed() }
                    throw error
                }
                step { $0.completionRecorded() }
            default: perform([action])
            }
        }
    }

    private func record(_ description: PostCopyMachine.Description) throws {
        var rest = description.fingerprints[...]
        for run in description.runs {
            try parts.announced.set(rest.prefix(run.count), from: run.lowerBound)
            rest = rest.dropFirst(run.count)
        }
    }

    private func store(_ received: PostCopyMachine.Received) throws {
        guard let data = received.data else {
            for run in received.runs {
                try check(run) { _ in .zero }
                fill(ArrivedBlocks(blocks: run, bytes: .zeros), from: .zero)
            }
            return
        }
        guard let decompressor = decompressors.withLockedValue({ $0[received.channel] }) else {
            throw MigrationError.unexpected("data on a channel that has nothing to unpack it with")
        }
        let buffer = BlockBuffer(byteCount: received.byteCount + geometry.blockSize)
        try data.compressed.withUnsafeReadableBytes {
            try decompressor.decompress($0, into: buffer.prefix(received.byteCount))
        }
        // The last block of the disk may be short, and is hashed as if zeros followed.
        memset(buffer.bytes.baseAddress! + received.byteCount, 0, geometry.blockSize)
        var offset = 0
        for run in received.runs {
            let fingerprints = try verify(run, buffer, at: offset)
            fill(
                ArrivedBlocks(blocks: run, bytes: .inBuffer(buffer, at: offset), fingerprints: fingerprints),
                from: .link)
            offset += Int(geometry.byteCount(of: run))
        }
    }

    /// The fingerprints of blocks that came.
    private func verify(_ run: Range<UInt64>, _ buffer: BlockBuffer, at offset: Int) throws -> [Fingerprint] {
        let hasher = BlockHasher()
        let found = (0..<run.count).map {
            hasher.fingerprint(
                UnsafeRawBufferPointer(buffer.slice(offset + $0 * geometry.blockSize, geometry.blockSize)))
        }
        try check(run) { found[Int($0 - run.lowerBound)] }
        return found
    }

    /// Compares blocks that came with what was announced of them, if anything was.
    private func check(_ run: Range<UInt64>, _ found: (UInt64) -> Fingerprint) throws {
        for part in ask({ $0.describedRuns(in: run) }) {
            let announced = try parts.announced.fingerprints(of: part)
            try PostCopyMachine.check(part.lazy.map(found), against: announced)
        }
    }

    // MARK: Searches

    func find(_ search: PostCopyMachine.Search) {
        let isUrgent = search.channel == .demand
        for part in search.parts {
            let runs = search.channel == .bulk ? part.flatMap { map.missingRuns(in: $0) } : part
            let rest = runs.flatMap { run in ask { $0.isDescribed(run) } ? fillFromHere(run, isUrgent) : [run] }
            step { $0.searched(search, rest: rest) }
        }
    }

    /// Blocks before and after a run that help to find it on other hosts.
    private static let around: UInt64 = 256

    /// Fills described blocks with zeros or from neighbours.
    /// - Returns: those that only the source has.
    private func fillFromHere(_ blocks: Range<UInt64>, _ isUrgent: Bool) -> [Range<UInt64>] {
        guard let fingerprints = try? parts.announced.fingerprints(of: blocks) else { return [blocks] }
        let hasher = BlockHasher()
        func announced(_ run: Range<UInt64>) -> [Fingerprint] {
            let start = Int(run.lowerBound - blocks.lowerBound)
            return Array(fingerprints[start..<start + run.count])
        }
        var local = LocalBlocks(
            blocks: blocks, fingerprints: fingerprints, index: parts.index, isUrgent: isUrgent,
            around: described(around: blocks)
        ) { [self] in
            parts.image.holds($1, at: $0, geometry, hasher)
        }
        for run in local.present {
            fill(ArrivedBlocks(blocks: run, bytes: .inImage, fingerprints: announced(run)), from: .present)
        }
        for run in local.zeros { fill(ArrivedBlocks(blocks: run, bytes: .zeros), from: .zero) }
        while let (run, buffer) = local.nextFound(geometry) {
            fill(
                ArrivedBlocks(blocks: run, bytes: .inBuffer(buffer, at: 0), fingerprints: announced(run)),
                from: .neighbour)
        }
        return local.rest
    }

    /// Returns the described blocks before and after some others, if images of other hosts can be used; zeros stand for the
    /// rest.
    private func described(around blocks: Range<UInt64>) -> (before: [Fingerprint], after: [Fingerprint]) {
        guard parts.index?.isJoined == true, blocks.count < 2 * Int(Self.around) else { return ([], []) }
        let first = blocks.lowerBound - min(blocks.lowerBound, Self.around)
        let end = min(geometry.blockCount, blocks.upperBound + Self.around)
        func fingerprints(_ part: Range<UInt64>) -> [Fingerprint] {
            part.isEmpty ? [] : (try? parts.announced.fingerprints(of: part)) ?? []
        }
        return (fingerprints(first..<blocks.lowerBound), fingerprints(blocks.upperBound..<end))
    }

    // MARK: Fills

    /// Puts blocks into the image, as far as they are still wanted. Where that fails, reads that wait for them get them all
    /// the same.
    private func fill(_ arrived: ArrivedBlocks, from origin: PostCopyMachine.Origin) {
        let fill = ask { $0.arrived(arrived.blocks, from: origin) }
        let error = FileError.outcome {
            for run in fill.accepted {
                try arrived.put(run, into: parts.image, parts.manifest, geometry)
                parts.origins?.record(run, from: origin.inPicture)
            }
        }
        perform(
            decide(about: arrived) { $0.filled(fill, error: error, isAtHand: arrived.isAtHand, at: .now) })
    }
}

extension PostCopyMachine.Origin {
    fileprivate var inPicture: BlockOrigin {
        switch self {
        case .present: .present
        case .zero: .zero
        case .neighbour: .neighbour
        case .link: .link
        }
    }
}
