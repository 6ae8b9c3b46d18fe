import Hashing
import MigrationProtocol

/// Packs a memory stream at the source: finds its pages, and describes in tokens those that the destination has.
///
/// Not Sendable: used by one job at a time.
package final class MemoryPacker {
    /// A batch, ready to be compressed.
    package struct Packed {
        /// Bytes of the stream that it describes, from the first; 0 if there are too few to describe.
        package var consumed = 0
        /// The tokens, and the literals behind them: at most some bytes more than the stream's own.
        package var bytes: [UInt8] = []
        package var tokenBytes = 0
        /// The first half of the proof after the batch.
        package var proof = Fingerprint.zero

        package var literalBytes: Int { bytes.count - tokenBytes }
    }

    /// Finds blocks of the guest's disks that both nodes have, for consecutive pages of its memory. Returns as many items;
    /// nil for a page that is to go otherwise.
    package typealias Finder = ([Fingerprint]) -> [(disk: Int, block: UInt64)?]

    private var parser: any StreamParser
    private var writer = MemoryTokenWriter()
    private var sent: SentPages
    private var proof = StreamProof()
    private let hasher = BlockHasher()
    private let hash = SHA256Stream()
    private var parts: [StreamPart] = []
    /// The places of the literals in the stream's bytes, and how many there are.
    private var literals: [Range<Int>] = []
    private var literalBytes = 0
    private var material: [UInt8] = []
    private var sentNow: [Fingerprint] = []
    private var fingerprints: [Fingerprint] = []

    /// Bytes by which a description may be longer than the stream: a token for all of it.
    private static let tokenBytes = 16

    /// The pages so far.
    package private(set) var tally = MemoryTally()

    /// - Parameter history: pages that the destination keeps.
    package init(parser: any StreamParser, history: Int) {
        self.parser = parser
        sent = SentPages(capacity: history)
    }

    /// The reason why pages are not looked for any more; nil if they are.
    package var problem: String? { parser.problem }

    /// The stage that the stream has reached.
    package var stage: MemoryStage { parser.stage }

    /// The proof of the whole stream so far, 32 bytes.
    package var digest: [UInt8] { proof.digest }

    /// Packs the next bytes of the stream.
    /// - Parameters:
    ///   - bytes: from the first that no batch has described yet; at most `MemoryBatch.maximumBytes`.
    ///   - isWaiting: nothing more is there now, so that all of them are to be described.
    package func pack(_ bytes: UnsafeRawBufferPointer, isWaiting: Bool, _ find: Finder) -> Packed {
        precondition(bytes.count <= MemoryBatch.maximumBytes)
        parts.removeAll(keepingCapacity: true)
        let consumed = parser.parse(bytes, isWaiting: isWaiting, into: &parts)
        precondition(consumed <= bytes.count, "a parser covers only what it was given")
        guard consumed > 0 else { return Packed() }
        let covered = UnsafeRawBufferPointer(rebasing: bytes[..<consumed])
        checkParts(of: covered)
        var packed = Packed(consumed: consumed, bytes: describe(covered, find))
        packed.tokenBytes = packed.bytes.count
        proof = packed.bytes.withUnsafeBytes { tokens in
            material.withUnsafeBytes { proof.adding(tokens: tokens, material: $0, hash) }
        }
        packed.proof = proof.prefix
        packed.bytes.reserveCapacity(packed.tokenBytes + literalBytes)
        for literal in literals { packed.bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: covered[literal])) }
        sent.add(sentNow)
        return packed
    }

    /// Takes as bytes all that is not what its part says: a parser may be wrong about a guest's bytes, and no byte may change.
    private func checkParts(of bytes: UnsafeRawBufferPointer) {
        var offset = 0
        for index in parts.indices {
            let part = parts[index]
            guard (1...bytes.count).contains(part.count), part.count <= bytes.count - offset else {
                offset = 0
                break
            }
            offset += part.count
            if part.kind == .bytes { continue }
            let isWhole = part.count == StreamPart.count(of: part.kind)
            if !isWhole || part.kind == .zeroPage && bytes[offset - 1] != 0 { parts[index].kind = .bytes }
        }
        if offset != bytes.count { parts = [StreamPart(.bytes, bytes.count)] }
    }

    /// Describes bytes in tokens, or in one token if that is shorter.
    private func describe(_ bytes: UnsafeRawBufferPointer, _ find: Finder) -> [UInt8] {
        let (before, tallyBefore) = (writer.prediction, tally)
        hashPages(of: bytes)
        describe(bytes, fingerprints.isEmpty ? [] : find(fingerprints))
        let tokens = writer.finish()
        if tokens.count + literalBytes <= bytes.count + Self.tokenBytes { return tokens }
        (writer.prediction, tally) = (before, tallyBefore)
        parts = [StreamPart(.bytes, bytes.count)]
        fingerprints.removeAll(keepingCapacity: true)
        describe(bytes, [])
        return writer.finish()
    }

    private func hashPages(of bytes: UnsafeRawBufferPointer) {
        fingerprints.removeAll(keepingCapacity: true)
        var offset = 0
        for part in parts {
            offset += part.count
            guard part.kind == .page || part.kind == .barePage else { continue }
            let page = UnsafeRawBufferPointer(rebasing: bytes[offset - StreamPart.pageBytes..<offset])
            fingerprints.append(hasher.fingerprint(page))
        }
    }

    private func describe(_ bytes: UnsafeRawBufferPointer, _ places: [(disk: Int, block: UInt64)?]) {
        literals.removeAll(keepingCapacity: true)
        literalBytes = 0
        material.removeAll(keepingCapacity: true)
        sentNow.removeAll(keepingCapacity: true)
        precondition(places.count == fingerprints.count, "a finder returns an item for each page")
        var (offset, page) = (0, 0)
        for part in parts {
            let piece = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + part.count])
            offset += part.count
            switch part.kind {
            case .bytes:
                add(bytes: piece)
                addLiteral(offset - part.count..<offset)
            case .zeroPage: add(.zeros, piece, content: .zero)
            case .page, .barePage:
                let source = source(of: part.kind, fingerprints[page], places[page])
                if source == .pages {
                    addLiteral(offset - StreamPart.pageBytes..<offset)
                    sentNow.append(fingerprints[page])
                }
                add(source, piece, content: fingerprints[page])
                page += 1
            }
        }
    }

    private func add(bytes: UnsafeRawBufferPointer) {
        writer.add(bytes: bytes.count)
        material.append(contentsOf: bytes)
        tally.add(MemoryRun(.bytes, count: bytes.count))
    }

    private func addLiteral(_ place: Range<Int>) {
        literalBytes += place.count
        if let last = literals.last, last.upperBound == place.lowerBound {
            literals[literals.count - 1] = last.lowerBound..<place.upperBound
        } else {
            literals.append(place)
        }
    }

    private func source(
        of kind: StreamPart.Kind, _ content: Fingerprint, _ place: (disk: Int, block: UInt64)?
    ) -> MemoryRun.Source {
        if kind == .barePage, content == .zero { return .zeros }
        if let place { return .disk(place.disk, first: place.block) }
        return sent.find(content).map { .sent(first: $0) } ?? .pages
    }

    private func add(_ source: MemoryRun.Source, _ page: UnsafeRawBufferPointer, content: Fingerprint) {
        let hasHeader = page.count != StreamPart.pageBytes
        let header = hasHeader ? UInt64(bigEndian: page.loadUnaligned(as: UInt64.self)) : nil
        writer.add(page: source, header: header)
        material.append(header: header, content)
        tally.add(MemoryRun(source, count: 1, header: header))
    }
}
