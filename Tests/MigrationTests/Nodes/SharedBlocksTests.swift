import Block
import Index
import TestSupport
import Testing

@testable import BlockModel
@testable import Hashing
@testable import Migration

@Suite("Blocks that came for one disk, and others")
struct SharedBlocksTests {
    private let scratch = Scratch()
    private let shared = SharedBlocks()
    private let geometry = BlockGeometry(size: 64 * 4096, blockSize: 4096)!
    private static let prints = (1...4).map { Fingerprint(high: $0 &* 0x9e37_79b9_7f4a_7c15, low: $0) }
    private static let prefixes = prints.map(\.high)

    private func image(_ name: String) throws -> RawImage {
        try RawImage.create(path: scratch.file(name), size: geometry.size)
    }

    @Test("They are found for other disks of the same domains and block size, as long as the image is there")
    func found() throws {
        var first: RawImage? = try image("first")
        let others = try ["second", "elsewhere", "small"].map { try image($0) }
        let member = shared.join(first!, geometry, domains: ["a"])
        let second = shared.join(others[0], geometry, domains: ["a"])
        let elsewhere = shared.join(others[1], geometry, domains: [])
        let small = shared.join(others[2], BlockGeometry(size: geometry.size, blockSize: 512)!, domains: ["a"])
        member.add(Array(Self.prints[..<3]), from: 7)

        let places = second.places(of: Self.prefixes)
        #expect(places.map { $0?.block } == [7, 8, 9, nil])
        #expect(second.image(of: places[0]!) === first)
        #expect(member.places(of: Self.prefixes) == [nil, nil, nil, nil], "its own are its own to remember")
        #expect(elsewhere.places(of: Self.prefixes) == [nil, nil, nil, nil])
        #expect(small.places(of: Self.prefixes) == [nil, nil, nil, nil])
        #expect(shared.has(Self.prefixes, domains: ["a"], blockSize: 4096) == [true, true, true, false])
        #expect(shared.has(Self.prefixes, domains: [], blockSize: 4096) == [false, false, false, false])

        first = nil
        #expect(second.image(of: places[0]!) == nil)
    }

    @Test("What has been asked for is waited for only by disks that came later, and until it comes or will not")
    func promised() throws {
        let images = try ["first", "second", "elsewhere"].map { try image($0) }
        var first: SharedBlocks.Member? = shared.join(images[0], geometry, domains: [])
        let second = shared.join(images[1], geometry, domains: [])
        let elsewhere = shared.join(images[2], geometry, domains: ["a"])
        first!.promise(Self.prefixes)
        second.promise([99])
        #expect(second.mayComeSoon([Self.prefixes[2]]))
        #expect(!second.mayComeSoon([5]))
        #expect(!first!.mayComeSoon([99]), "the other waits for this one")
        #expect(!elsewhere.mayComeSoon(Self.prefixes))

        first!.add([Self.prints[0]], from: 0)
        #expect(!second.mayComeSoon([Self.prefixes[0]]))
        #expect(second.mayComeSoon([Self.prefixes[1]]))
        first!.withdrawPromises()
        #expect(!second.mayComeSoon(Self.prefixes))
        first!.promise(Self.prefixes)
        first = nil
        #expect(!second.mayComeSoon(Self.prefixes), "it has gone")
    }

    @Test("Invariant 10: disks that come and go, and promises without end, take no more memory")
    func bounded() throws {
        let image = try image("first")
        for _ in 0..<1000 {
            let member = shared.join(image, geometry, domains: [])
            member.add(Self.prints, from: 0)
        }
        let member = shared.join(image, geometry, domains: [])
        for start in 0..<600 as Range<UInt64> { member.promise((1...1000).map { start * 1000 + $0 }) }
        let later = shared.join(image, geometry, domains: [])
        #expect(later.mayComeSoon([1]))
        #expect(!later.mayComeSoon([599_999]), "too many to remember")
    }
}
