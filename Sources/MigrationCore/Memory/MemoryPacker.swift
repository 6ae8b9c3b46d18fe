import Hashing

/// Packs a memory stream at the source: finds its pages, and describes in tokens those that the destination has.
///
/// Not Sendable: used by one job at a time.
package final class MemoryPacker {
    /// A batch, ready to be compressed.
    package struct Packed {
        /// Bytes of the stream that it describes, from the first; 0 if there are too few to describe.
        package var consumed = 0
        /// The tokens, and the literals behind them.
        package var bytes: [UInt8] = []
        package var tokenBytes = 0
        /// The first half of the proof after the batch.
        package var proof = Fingerprint.zero

        package var literalBytes: Int { bytes.count - tokenBytes }
    }

    /// Finds blocks of the guest's disks that both nodes have, for consecutive pages of its memory.
    package typealias Finder = ([Fingerprint]) -> [(disk: Int, block: UInt64)?]

    private var parser: any StreamParser
    private var writer = MemoryTokenWriter()
    private var sent: SentPages
    private var proof = StreamProof()
    private let hasher = BlockHasher()
    private let hash = SHA256Stream()
    private var parts: [StreamPart] = []
    private var literals: [UInt8] = []
    private var material: [UInt8] = []
    private var sentNow: [Fingerprint] = []

    /// The pages so far.
    package private(set) var tally = MemoryTally()

    /// - Parameter history: pages that the destination keeps.
    package init(parser: any StreamParser, history: Int) {
        self.parser = parser
        sent = SentPages(capacity: history)
    }

    /// The reason why pages are not looked for any more; nil if they are.
    package var problem: String? { parser.problem }

    /// The proof of the whole stream so far, 32 bytes.
    package var digest: [UInt8] { proof.digest }

    /// Packs the next bytes of the stream.
    /// - Parameters:
    ///   - bytes: from the first that no batch has described yet; at most `MemoryBatch.maximumBytes`.
    ///   - isWaiting: nothing more is there now, so that all of them are to be described.
    package func pack(_ bytes: UnsafeRawBufferPointer, isWaiting: Bool, _ find: Finder) -> Packed {
        parts.removeAll(keepingCapacity: true)
        let consumed = parser.parse(bytes, isWaiting: isWaiting, into: &parts)
        precondition(consumed <= bytes.count, "a parser covers only what it was given")
        guard consumed > 0 else { return Packed() }
        describe(bytes, fingerprints(of: bytes), find)
        var packed = Packed(consumed: consumed, bytes: writer.finish())
        packed.tokenBytes = packed.bytes.count
        proof = packed.bytes.withUnsafeBytes { tokens in
            material.withUnsafeBytes { proof.adding(tokens: tokens, material: $0, hash) }
        }
        packed.proof = proof.prefix
        packed.bytes += literals
        sent.add(sentNow)
        return packed
    }

    private func fingerprints(of bytes: UnsafeRawBufferPointer) -> [Fingerprint] {
        var fingerprints: [Fingerprint] = []
        fingerprints.reserveCapacity(parts.count)
        var offset = 0
        for part in parts {
            if part.kind == .page || part.kind == .barePage {
                let start = offset + part.count - StreamPart.pageBytes
                fingerprints.append(
                    hasher.fingerprint(UnsafeRawBufferPointer(rebasing: bytes[start..<start + StreamPart.pageBytes])))
            }
            offset += part.count
        }
        return fingerprints
    }

    private func describe(_ bytes: UnsafeRawBufferPointer, _ fingerprints: [Fingerprint], _ find: Finder) {
        literals.removeAll(keepingCapacity: true)
        material.removeAll(keepingCapacity: true)
        sentNow.removeAll(keepingCapacity: true)
        let places = find(fingerprints)
        precondition(places.count == fingerprints.count)
        var (offset, page) = (0, 0)
        for part in parts {
            let piece = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + part.count])
            offset += part.count
            switch part.kind {
            case .bytes: add(bytes: piece)
            case .zeroPage: add(.zeros, piece, content: .zero)
            case .page, .barePage:
                add(page: piece, part.kind, fingerprints[page], places[page])
                page += 1
            }
        }
    }

    private func add(bytes: UnsafeRawBufferPointer) {
        writer.add(bytes: bytes.count)
        literals.append(contentsOf: bytes)
        material.append(contentsOf: bytes)
        tally.add(MemoryRun(.bytes, count: bytes.count))
    }

    private func add(
        page: UnsafeRawBufferPointer, _ kind: StreamPart.Kind, _ content: Fingerprint,
        _ place: (disk: Int, block: UInt64)?
    ) {
        if kind == .barePage, content == .zero { return add(.zeros, page, content: content) }
        if let place { return add(.disk(place.disk, first: place.block), page, content: content) }
        if content != .zero, let number = sent.find(content) {
            return add(.sent(first: number), page, content: content)
        }
        literals.append(contentsOf: page.suffix(StreamPart.pageBytes))
        sentNow.append(content)
        add(.pages, page, content: content)
    }

    private func add(_ source: MemoryRun.Source, _ page: UnsafeRawBufferPointer, content: Fingerprint) {
        let hasHeader = page.count != StreamPart.pageBytes
        let header = hasHeader ? UInt64(bigEndian: page.loadUnaligned(as: UInt64.self)) : nil
        writer.add(page: source, header: header)
        material.append(header: header, content)
        tally.add(MemoryRun(source, count: 1, header: header))
    }
}
