import Block
import BlockModel
import Index
import MigrationCore
import MigrationProtocol
import NIOPosix

/// Finds a neighbour of the source that is a close relative of the moved disk and stands at the destination too. Agrees with
/// the destination on those of its blocks that become the prefix of the stream.
struct RelativeSearch: Sendable {
    private let scan: RelativeScan
    private let index: NeighbourIndex
    private let pool: NIOThreadPool
    private let exchange: PrefixExchange

    /// - Parameters:
    ///   - index: of the source: the bytes of a prefix must be on both sides.
    ///   - pool: for reading and hashing.
    init(
        image: any DiskImage, geometry: BlockGeometry, index: NeighbourIndex, pool: NIOThreadPool,
        exchange: PrefixExchange
    ) {
        scan = RelativeScan(image: image, geometry: geometry, index: index)
        self.index = index
        self.pool = pool
        self.exchange = exchange
    }

    /// - Parameter isOver: asked now and then; once true, the search ends.
    /// - Returns: the prefix, which the destination uses from now on; nil if there is none that is worth it.
    /// - Throws: `FileError`; what sending throws.
    func run(isOver: @Sendable () -> Bool) async throws -> StreamPrefix? {
        let data = try await pool.runIfActive { [scan] in try scan.data() }
        guard let neighbour = try await relative(of: data, isOver) else { return nil }
        let parts = try await pool.runIfActive { [scan] in try scan.begin(with: neighbour) }
        for piece in scan.pieces(of: data) {
            guard !isOver(), !Task.isCancelled else { return nil }
            try await pool.runIfActive { [scan] in try scan.note(piece) }
        }
        for part in 0..<parts {
            guard !isOver(), !Task.isCancelled else { return nil }
            try await pool.runIfActive { [scan] in scan.compare(part, of: neighbour) }
        }
        return try await agree(neighbour, isOver)
    }

    /// The neighbour that is likely to help most.
    private func relative(of data: [Range<UInt64>], _ isOver: @Sendable () -> Bool) async throws -> Int? {
        let (samples, candidates) = try await pool.runIfActive { [scan, index] in
            let samples = try scan.samples(of: data)
            return (samples, RelativeChoice.candidates(hits: index.hits(samples), samples: samples.count))
        }
        guard !candidates.isEmpty else { return nil }
        let theirs = try await pool.runIfActive { [scan] in
            try candidates.map { try scan.samples(ofNeighbour: $0.neighbour) }
        }
        let question = PrefixQuestion(prefixes: samples.map(\.high) + theirs.joined(), isFinal: false)
        guard let answer = try await exchange.ask(question, isOver: isOver) else { return nil }
        var rest = answer.has[...]
        func takeShare(_ count: Int) -> Double {
            let part = rest.prefix(count)
            rest = rest.dropFirst(count)
            return Double(part.count { $0 }) / Double(max(1, count))
        }
        let known = takeShare(samples.count)
        return RelativeChoice.best(of: candidates, shares: theirs.map { takeShare($0.count) }, known: known)?.neighbour
    }

    private func agree(_ neighbour: Int, _ isOver: @Sendable () -> Bool) async throws -> StreamPrefix? {
        let chosen = try await pool.runIfActive { [scan] in scan.chosen() }
        guard !chosen.isEmpty,
            let answer = try await exchange.ask(
                PrefixQuestion(prefixes: chosen.map(\.fingerprint.high), isFinal: true), isOver: isOver)
        else { return nil }
        let common = zip(chosen, answer.has).filter(\.1).map(\.0)
        guard !common.isEmpty, !isOver() else { return nil }
        return try await pool.runIfActive { [scan] in
            guard let prefix = scan.prefix(common, of: neighbour), scan.digest(of: prefix) == answer.digest else {
                return nil
            }
            return prefix
        }
    }
}
