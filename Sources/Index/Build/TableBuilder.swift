import Block
import BlockModel
import Glibc
import Hashing

/// Writes one image's table, and a catalogue of its fingerprints.
struct TableBuilder {
    /// Counts of blocks that one thread has scanned.
    private struct Tally: Sendable {
        var data: UInt64 = 0
        var visited: UInt64 = 0
    }

    let directory: IndexDirectory
    let blockSize: Int
    /// Limits of all work; once the result is not wanted, it ends with `CancellationError`.
    let options: BuildOptions

    /// A table in writing: its fingerprints are complete, its header and names are not.
    struct Draft: Sendable {
        fileprivate var header: TableHeader
        fileprivate let name: String
        fileprivate let domain: String
        fileprivate let origins: [UInt64]
        fileprivate let file: TemporaryFile
        fileprivate let bytesRead: UInt64
    }

    /// Reads the whole image.
    /// - Parameter geometry: its blocks.
    func read(
        _ image: any ImageSource, _ geometry: BlockGeometry, name: String, domain: String,
        progress: (@Sendable (BuildProgress) -> Void)?
    ) throws -> Draft {
        let source = GridSource.on(geometry, image)
        // Stamp the image before reading it, so that a write meanwhile makes the table look outdated.
        var header = TableHeader(
            blockSize: blockSize, imageSize: image.size, nameLength: name.utf8.count,
            domainLength: domain.utf8.count, stamp: try source.stamp(),
            identityDigest: try source.identityDigest(), origins: geometry.origins)
        let file = try directory.temporary(for: IndexFileName.file(forNeighbour: name))
        try file.setSize(header.fileSize)
        let start = header.fingerprintsRange.lowerBound
        let tallies = try BlockScanner(source: source, blockSize: blockSize, options: options)
            .scan(from: Tally(), progress: progress) { tally, first, fingerprints in
                let data = fingerprints.count { $0 != .zero }
                tally.data += UInt64(data)
                tally.visited += UInt64(fingerprints.count)
                guard data > 0 else { return }
                try Self.write(fingerprints, to: file, at: start + first * UInt64(Fingerprint.byteCount))
            }
        header.zeroBlocks = header.blockCount - tallies.reduce(0) { $0 + $1.data }
        file.beginWritingOut()
        return Draft(
            header: header, name: name, domain: domain, origins: geometry.origins, file: file,
            bytesRead: min(source.size, tallies.reduce(0) { $0 + $1.visited } * UInt64(blockSize)))
    }

    /// Reads the given blocks, and copies all other fingerprints from the old table.
    func read(_ blocks: [UInt64], of image: any ImageSource, since old: Table) throws -> Draft {
        let source = GridSource.on(old.geometry, image)
        var header = TableHeader(
            blockSize: blockSize, imageSize: image.size, nameLength: old.header.nameLength,
            domainLength: old.header.domainLength, stamp: try source.stamp(),
            identityDigest: try source.identityDigest(), origins: old.geometry.origins)
        let file = try directory.temporary(for: IndexFileName.file(forNeighbour: old.name))
        try file.setSize(header.fileSize)
        // Nothing proves the old table's own count: damage there must cost misses and nothing more.
        var data = Int64(clamping: try copyFingerprints(of: old, to: file))
        let hasher = BlockHasher()
        let buffer = ReadBuffer(count: blockSize)
        // Read each block once: a second read would count its change from the old table twice.
        let changed = Set(blocks.filter { $0 < header.blockCount })
        for block in changed.sorted() {
            guard options.isWanted() else { throw CancellationError() }
            let before = try fingerprint(of: block, in: old)
            let now = try fingerprint(of: block, of: source, hasher, buffer)
            guard now != before else { continue }
            if before == .zero { data += 1 }
            if now == .zero { data -= 1 }
            try Self.write([now], to: file, at: old.offset(of: block))
        }
        header.zeroBlocks = header.blockCount - min(UInt64(max(0, data)), header.blockCount)
        return Draft(
            header: header, name: old.name, domain: old.domain, origins: old.geometry.origins, file: file,
            bytesRead: UInt64(changed.count) * UInt64(blockSize))
    }

    /// Makes the table's catalogue and publishes both.
    func publish(_ draft: Draft) throws -> TableSummary {
        var header = draft.header
        let (name, domain, file) = (draft.name, draft.domain, draft.file)
        var text = Array((name + domain).utf8)
        for origin in draft.origins { withUnsafeBytes(of: origin.littleEndian) { text.append(contentsOf: $0) } }
        try text.withUnsafeBytes {
            header.nameDigest = BlockHasher().digest($0)
            try file.write($0, at: header.nameRange.lowerBound)
        }
        let written = try file.reopened()
        header.fingerprintsDigest = try TableDigest.compute(
            written, header.fingerprintsRange, threads: options.threads, while: options.isWanted)
        let key = TableKey(file: IndexFileName.digest(ofNeighbour: name), generation: header.generation)
        let catalogue = try directory.temporary(for: IndexFileName.newCatalogue())
        header.distinct = try CatalogueBuilder(
            directory: directory, blockSize: blockSize, sources: [TableFingerprints(file: written, header: header)],
            threads: options.threads, isWanted: options.isWanted
        ).write(to: catalogue, listing: [key])
        try header.encode().withUnsafeBytes { try file.write($0, at: 0) }
        // Publish the table last: the catalogue has no effect without it.
        try directory.publish([catalogue, file])
        let path = directory.path(of: IndexFileName.file(forNeighbour: name))
        // Another process may have replaced the table already.
        let bytes = (try? IndexFile(path: path))?.allocated ?? 0
        return TableSummary(
            neighbour: Neighbour(name: name, domain: domain, header: header, tableFile: path, tableBytes: bytes),
            bytesRead: draft.bytesRead)
    }

    /// - Returns: the number of fingerprints that are not zero.
    private func copyFingerprints(of old: Table, to file: TemporaryFile) throws -> UInt64 {
        let fingerprints = TableFingerprints(file: old.file, header: old.header)
        let atOnce: UInt64 = 1 << 15
        let buffer = ReadBuffer(count: Int(atOnce) * Fingerprint.byteCount)
        var (block, data) = (0 as UInt64, 0 as UInt64)
        while let next = fingerprints.nextData(from: block) {
            guard options.isWanted() else { throw CancellationError() }
            let blocks = next.lowerBound..<min(next.upperBound, next.lowerBound + atOnce)
            let part = buffer.prefix(blocks.count * Fingerprint.byteCount)
            try fingerprints.read(blocks, into: part)
            for offset in stride(from: 0, to: part.count, by: Fingerprint.byteCount) {
                let bytes = UnsafeRawBufferPointer(rebasing: part[offset..<offset + Fingerprint.byteCount])
                if Fingerprint(bytes: bytes) != .zero { data += 1 }
            }
            try file.write(UnsafeRawBufferPointer(part), at: old.offset(of: blocks.lowerBound))
            block = blocks.upperBound
        }
        return data
    }

    private func fingerprint(of block: UInt64, in table: Table) throws -> Fingerprint {
        try withUnsafeTemporaryAllocation(byteCount: Fingerprint.byteCount, alignment: 8) { bytes in
            guard table.file.read(into: bytes, at: table.offset(of: block)) else {
                throw FileError("read", table.file.path, code: EIO)
            }
            return Fingerprint(bytes: UnsafeRawBufferPointer(bytes))
        }
    }

    private func fingerprint(
        of block: UInt64, of source: any ImageSource, _ hasher: BlockHasher, _ buffer: borrowing ReadBuffer
    ) throws -> Fingerprint {
        let offset = block * UInt64(blockSize)
        let count = Int(min(UInt64(blockSize), source.size - offset))
        try source.read(into: buffer.prefix(count), at: offset)
        for place in count..<blockSize { buffer.bytes[place] = 0 }
        return hasher.fingerprint(UnsafeRawBufferPointer(buffer.bytes))
    }

    private static func write(_ fingerprints: [Fingerprint], to file: TemporaryFile, at offset: UInt64) throws {
        let count = fingerprints.count * Fingerprint.byteCount
        try withUnsafeTemporaryAllocation(byteCount: count, alignment: 8) { bytes in
            for (index, fingerprint) in fingerprints.enumerated() {
                let start = index * Fingerprint.byteCount
                fingerprint.store(into: .init(rebasing: bytes[start..<start + Fingerprint.byteCount]))
            }
            try file.write(UnsafeRawBufferPointer(bytes), at: offset)
        }
    }
}
