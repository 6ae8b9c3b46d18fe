import TestSupport
import Testing

@testable import Index

@Suite struct DomainTests {
    @Test func onlyNeighboursOfTheDomainsAreFound() throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let store = try IndexStore(directory: scratch.index)
        let images = ["a", "b", "c"].map { ($0, random.bytes(4096)) }
        for (name, bytes) in images {
            let path = scratch.image(name + ".raw", bytes)
            _ = try store.add(path, domain: name == "c" ? nil : name, options: BuildOptions(threads: 1))
        }
        let index = try NeighbourIndex.open(directory: scratch.index)
        #expect(index.neighbours.map(\.domain) == ["a", "b", Neighbour.standardDomain])
        let questions = images.map { NaiveImage($0.1, block: 4096).fingerprints[0] }
        #expect(index.lookUp(questions).map { $0 != nil } == [true, true, true])
        #expect(index.restricted(to: ["b"]).lookUp(questions).map { $0 != nil } == [false, true, false])
        #expect(index.restricted(to: ["b"]).candidates(prefix: questions[0].high).isEmpty)
        #expect(index.restricted(to: []).lookUp(questions) == [nil, nil, nil])
        let two = index.restricted(to: ["a", Neighbour.standardDomain])
        #expect(two.lookUp(questions).map { $0.map { two.neighbours[$0.neighbour].domain } } == ["a", nil, "default"])
    }

    @Test func aNeighbourKeepsItsDomainUnlessAnotherIsGiven() throws {
        let scratch = Scratch()
        let store = try IndexStore(directory: scratch.index)
        let image = scratch.image("a.raw", [1, 2, 3])
        let options = BuildOptions(threads: 1)
        #expect(try store.add(image, domain: "ops", options: options).neighbour.domain == "ops")
        #expect(try store.add(image, options: options).neighbour.domain == "ops")
        scratch.image("a.raw", [4, 5, 6, 7])
        #expect(try store.refresh(image, options: options)?.neighbour.domain == "ops")
        #expect(try store.add(image, domain: "é", options: options).neighbour.domain == "é")
        for bad in ["", "a\0b", String(repeating: "x", count: 256)] {
            #expect(throws: IndexError.domain(bad)) { try store.add(image, domain: bad, options: options) }
        }
    }
}
