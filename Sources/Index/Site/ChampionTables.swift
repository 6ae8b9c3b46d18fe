import Hashing
import NIOConcurrencyHelpers

/// The tables of other hosts in which most was found lately, each with a catalogue of all its fingerprints.
///
/// Samples find long runs only. A disk mostly resembles few images, so that all fingerprints of these find nearly all the
/// rest. Champion is the word of Lillibridge et al., "Sparse Indexing", FAST 2009. Any thread may use it.
final class ChampionTables: Sendable {
    /// Blocks found in a table before a catalogue is worth it.
    private static let leastHits = 256
    /// Catalogues that are kept. Each is a file without a name of up to 8 bytes for each block. It is searched for each
    /// fingerprint that nothing else has found.
    private static let most = 4
    private static let mostCounts = 1 << 16
    /// Halving all counts at this one lets newer champions win.
    private static let halvedAt = 1 << 18

    private struct State {
        var hits: [TableKey: Int] = [:]
        var catalogues: [TableKey: Catalogue] = [:]
        var isBuilding = false
    }

    /// Path of the directory for the catalogues' files; nil for no champions.
    private let scratch: String?
    private let state = NIOLockedValueBox(State())

    init(scratch: String?) {
        self.scratch = scratch
    }

    /// The catalogues of those champions that are among some tables.
    func parts(of tables: [Table]) -> [IndexSnapshot.Part] {
        let catalogues = state.withLockedValue { $0.catalogues }
        return catalogues.compactMap { key, catalogue in
            tables.firstIndex { $0.key == key }.map {
                IndexSnapshot.Part(file: "", catalogue: catalogue, members: [$0], isSampled: false)
            }
        }
    }

    /// Counts blocks that were found. Makes the catalogue of a new champion, which blocks this thread and no other.
    /// - Parameter counts: For each table the blocks of one batch.
    func record(_ counts: [(table: Table, count: Int)]) {
        guard scratch != nil else { return }
        for (table, count) in counts {
            let isChampion = state.withLockedValue { state in
                // Tables that were replaced leave their counts behind.
                if state.hits.count > Self.mostCounts { state.hits = [:] }
                state.hits[table.key, default: 0] += count
                if state.hits[table.key]! > Self.halvedAt { state.hits = state.hits.mapValues { $0 / 2 } }
                return begin(table.key, &state)
            }
            if isChampion { build(table) }
        }
    }

    /// Whether a table is a champion without a catalogue, which the caller then makes.
    private func begin(_ key: TableKey, _ state: inout State) -> Bool {
        let hits = state.hits[key] ?? 0
        guard !state.isBuilding, state.catalogues[key] == nil, hits >= Self.leastHits else { return false }
        if state.catalogues.count >= Self.most {
            guard let least = state.catalogues.keys.min(by: { state.hits[$0] ?? 0 < state.hits[$1] ?? 0 }),
                // A new champion must be clearly better: making its catalogue takes a second for 10 GiB.
                hits > 2 * (state.hits[least] ?? 0)
            else { return false }
            state.catalogues[least] = nil
        }
        state.isBuilding = true
        return true
    }

    private func build(_ table: Table) {
        let index = try? FingerprintIndex(of: [table.fingerprints], directory: scratch ?? "", threads: 1)
        state.withLockedValue { state in
            state.isBuilding = false
            state.catalogues[table.key] = index?.catalogue
            // A table that can't be read is not tried again soon.
            if index == nil { state.hits[table.key] = nil }
        }
    }
}
