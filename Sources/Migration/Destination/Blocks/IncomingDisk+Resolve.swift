import Block
import BlockModel
import Glibc
import Hashing
import Index
import MigrationProtocol

/// Blocks of a manifest that are found here: on the disk itself, in the neighbours, and on other disks that arrive.
extension IncomingDisk {
    /// Looks for the blocks of a manifest segment on this disk and in the neighbours, and writes what it finds.
    /// - Parameter elsewhere: blocks that disks at other hosts have given, by their prefixes.
    /// - Returns: the blocks that are wanted from the source.
    func resolve(_ segment: ManifestSegment, elsewhere: [UInt64: BorrowedBlock] = [:]) throws -> Wants {
        var candidates = lookUp(segment)
        let others = shared.places(of: segment.prefixes)
        var promises: [UInt64] = []
        var wants = Wants(first: segment.first, wanted: [], present: 0, repeated: 0, neighbour: 0)
        var known: [Fingerprint] = []
        var found: [Fingerprint] = []
        try clearZeros(of: segment)
        for (offset, entry) in segment.entries.enumerated() {
            let block = segment.first + UInt64(offset)
            let bytes = geometry.byteCount(of: block..<block + 1)
            var fingerprint: Fingerprint?
            var isWanted = false
            switch entry {
            case .zero, .later:
                break
            case .prefix(let prefix):
                if let present = try findPresent(prefix, at: block) {
                    fingerprint = present
                    wants.present += bytes
                    origins.record(block..<block + 1, from: .present)
                } else if let repeated = try copyRepeat(prefix, to: block) {
                    fingerprint = repeated
                    wants.repeated += bytes
                    origins.record(block..<block + 1, from: .repeated)
                } else if let copied = try copyNeighbour(current(offset, &candidates, segment), prefix, to: block)
                    ?? copyShared(others[offset], prefix, to: block) ?? copy(elsewhere[prefix], prefix, to: block)
                {
                    fingerprint = copied
                    wants.neighbour += bytes
                    origins.record(block..<block + 1, from: .neighbour)
                }
                if let fingerprint {
                    found.append(fingerprint)
                } else {
                    isWanted = true
                    promises.append(prefix)
                }
            }
            wants.wanted.append(isWanted)
            known.append(fingerprint ?? .zero)
        }
        shared.promise(promises)
        wants.check = Fingerprint.combined(found)
        try writer.flush()
        try manifest.set(known[...], from: segment.first)
        return wants
    }

    /// Makes the zero blocks of a segment zero in the image, but not in the manifest.
    private func clearZeros(of segment: ManifestSegment) throws {
        var start: UInt64?
        for (block, entry) in zip(segment.first..., segment.entries + [.later]) {
            if entry == .zero {
                start = start ?? block
            } else if let zeros = start {
                try empty(zeros..<block)
                start = nil
            }
        }
    }

    private func lookUp(_ segment: ManifestSegment) -> [Candidate?] {
        guard let index else { return Array(repeating: nil, count: segment.entries.count) }
        let candidates = index.lookUp(prefixes: segment.prefixes)
        index.willFetch(candidates)
        return candidates
    }

    /// The candidate of a block. If its host has failed meanwhile, another host may have the rest of the segment.
    private func current(_ offset: Int, _ candidates: inout [Candidate?], _ segment: ManifestSegment) -> Candidate? {
        guard let candidate = candidates[offset], let index, index.isAway(candidate) else { return candidates[offset] }
        candidates = lookUp(segment)
        return candidates[offset]
    }

    private func findPresent(_ prefix: UInt64, at block: UInt64) throws -> Fingerprint? {
        guard hasBase, let fingerprint = image.fingerprint(of: block, geometry, hasher), fingerprint.high == prefix
        else { return nil }
        try writer.flush()
        presentMap.mark(block..<block + 1)
        repeats.note(prefix, at: block)
        return fingerprint
    }

    private func copyRepeat(_ prefix: UInt64, to block: UInt64) throws -> Fingerprint? {
        guard let source = repeats.block(with: prefix) else { return nil }
        if writer.holds(source) { try writer.flush() }
        let room = try writer.room(for: block)
        let bytes = geometry.bytes(of: source..<source + 1)
        let count = Int(bytes.upperBound - bytes.lowerBound)
        try grid.read(into: UnsafeMutableRawBufferPointer(rebasing: room[..<count]), at: bytes.lowerBound)
        memset(room.baseAddress! + count, 0, geometry.blockSize - count)
        let fingerprint = hasher.fingerprint(UnsafeRawBufferPointer(room))
        guard fingerprint.high == prefix else { return nil }
        writer.add(block)
        return fingerprint
    }

    private func copyNeighbour(_ candidate: Candidate?, _ prefix: UInt64, to block: UInt64) throws -> Fingerprint? {
        guard let index, let candidate else { return nil }
        let room = try writer.room(for: block)
        let fingerprint =
            index.fetch(candidate, prefix: prefix, into: room, hasher: hasher)
            ?? fetchElsewhere(in: index, than: candidate, prefix, into: room)
        guard let fingerprint else { return nil }
        writer.add(block)
        repeats.note(prefix, at: block)
        return fingerprint
    }

    private func copyShared(_ place: SharedBlocks.Place?, _ prefix: UInt64, to block: UInt64) throws -> Fingerprint? {
        guard let place else { return nil }
        let room = try writer.room(for: block)
        // Only now: the next attempt of that disk can't open an image that is held.
        guard let image = shared.image(of: place),
            let fingerprint = image.fingerprint(of: place.block, place.geometry, hasher, into: room),
            fingerprint.high == prefix
        else { return nil }
        writer.add(block)
        repeats.note(prefix, at: block)
        return fingerprint
    }

    /// Takes a block that another host has given. It was hashed when it came.
    private func copy(_ borrowed: BorrowedBlock?, _ prefix: UInt64, to block: UInt64) throws -> Fingerprint? {
        guard let borrowed, borrowed.bytes.count == geometry.blockSize else { return nil }
        try writer.room(for: block).copyBytes(from: borrowed.bytes)
        writer.add(block)
        repeats.note(prefix, at: block)
        return borrowed.fingerprint
    }

    /// Another neighbour may still have what the first has lost.
    private func fetchElsewhere(
        in index: NeighbourIndex, than candidate: Candidate, _ prefix: UInt64, into room: UnsafeMutableRawBufferPointer
    ) -> Fingerprint? {
        for other in index.candidates(prefix: prefix) where other != candidate {
            if let fingerprint = index.fetch(other, prefix: prefix, into: room, hasher: hasher) { return fingerprint }
        }
        return nil
    }
}
