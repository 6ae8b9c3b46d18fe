import Glibc
import TestSupport
import Testing

@testable import Index

@Suite struct MergeTests {
    private func candidate(_ entries: UInt64, live: Int = 1, of tables: Int = 1) -> MergePlan.Candidate {
        MergePlan.Candidate(entries: entries, live: live, tables: tables)
    }

    @Test func fourOfATierBecomeOne() {
        let small = candidate(1000)
        func plan(_ candidates: [MergePlan.Candidate], uncovered: Bool = false, intoOne: Bool = false) -> [Int] {
            MergePlan(candidates, hasUncovered: uncovered, intoOne: intoOne).merged
        }
        #expect(plan([small, small, small]) == [])
        #expect(plan([small, small, small, small]) == [0, 1, 2, 3])
        let large = candidate(1 << 26)
        #expect(plan([large, small, small, small, small]) == [1, 2, 3, 4])
        #expect(plan([large, small], intoOne: true) == [0, 1])
        #expect(plan([large], intoOne: true) == [])
        #expect(plan([candidate(1 << 26, live: 1, of: 2)], intoOne: true) == [0])
        #expect(plan([candidate(1 << 26, live: 1, of: 3)]) == [0])
        #expect(MergePlan([candidate(0, live: 0), small], hasUncovered: false, intoOne: false).useless == [0])
    }

    @Test func aLookupAsksFewCatalogues() {
        // Simulate adding tables of all sizes one after another.
        var random = Seeded.fresh()
        var catalogues: [UInt64] = []
        for _ in 0..<2000 {
            catalogues.append(.random(in: 1...(1 << 22), using: &random))
            let plan = MergePlan(catalogues.map { candidate($0) }, hasUncovered: false, intoOne: false)
            let sum = plan.merged.reduce(0) { $0 + catalogues[$1] }
            catalogues = catalogues.enumerated().filter { !plan.merged.contains($0.offset) }.map(\.element)
            if sum > 0 { catalogues.append(sum) }
            #expect(catalogues.count <= 20)
        }
    }

    @Test func catalogueFilesStayFewAndNothingIsLost() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let store = try IndexStore(directory: scratch.index)
        var images: [String: [UInt8]] = [:]
        for round in 0..<40 {
            let name = "\(Int.random(in: 0..<10, using: &random)).raw"
            let path = scratch.path + "/" + name
            if round % 7 == 6, let gone = images.keys.randomElement(using: &random) {
                images[gone] = nil
                try store.remove(gone)
            } else {
                images[path] = random.bytes(4096 * 3)
                scratch.image(name, images[path]!)
                _ = try store.add(path, threads: 2)
            }
            let index = try NeighbourIndex.open(directory: scratch.index, check: .everything)
            #expect(index.problems == [] && index.catalogues <= 3)
            #expect(index.neighbours.map(\.name) == images.keys.sorted())
            for (path, bytes) in images {
                let fingerprints = NaiveImage(bytes, block: 4096).fingerprints
                let names = index.lookUp(fingerprints).map { $0.map { index.neighbours[$0.neighbour].name } }
                #expect(names == [path, path, path])
            }
        }
        try store.merge(threads: 1, intoOne: true)
        #expect(try NeighbourIndex.open(directory: scratch.index).catalogues == 1)
    }

    @Test func aLostOrDamagedCatalogueIsRebuilt() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let store = try IndexStore(directory: scratch.index)
        let bytes = random.bytes(4096 * 3)
        _ = try store.add(scratch.image("a.raw", bytes), threads: 2)
        let questions = NaiveImage(bytes, block: 4096).fingerprints
        for damage in [{ unlink($0) }, { truncate($0, 100) }, { truncate($0, 0) }] as [(String) -> CInt] {
            _ = damage(try store.catalogueFile)
            let index = try NeighbourIndex.open(directory: scratch.index)
            #expect(
                !index.problems.isEmpty
                    && index.problems.allSatisfy { $0.contains("index refresh") || $0.contains("delete it") })
            #expect(index.neighbours.count == 1 && index.lookUp(questions) == [nil, nil, nil])
            try store.merge(threads: 1)
            let mended = try NeighbourIndex.open(directory: scratch.index)
            #expect(mended.lookUp(questions).allSatisfy { $0 != nil })
        }
    }
}
