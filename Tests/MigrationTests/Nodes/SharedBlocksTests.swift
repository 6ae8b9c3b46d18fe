import Block
import Index
import NIOConcurrencyHelpers
import Peer
import TestSupport
import Testing

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationProtocol

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

    /// The ways in which a wait for another disk ends.
    enum End: CaseIterable { case come, withdrawn, gone, silent, late, cut, cancelled }

    @Test(
        "A disk waits for blocks that an earlier one has asked for -> it goes on once they have come or won't come",
        .timeLimit(.minutes(10)), arguments: End.allCases)
    func waits(end: End) async throws {
        let images = try ["first", "second"].map { try image($0) }
        var first: SharedBlocks.Member? = shared.join(images[0], geometry, domains: [])
        let second = shared.join(images[1], geometry, domains: [])
        first!.promise(Self.prefixes)
        let isOpen = NIOLockedValueBox(true)
        let limit = ContinuousClock.now + (end == .late ? .milliseconds(1) : .seconds(1000))
        let waiting = Task {
            try await second.waitWhileComing(Self.prefixes, until: limit) { isOpen.withLockedValue { $0 } }
        }
        switch end {
        case .come: for print in Self.prints { first!.add([print], from: 0) }
        case .withdrawn: first!.withdrawPromises()
        case .gone: first = nil
        // Nothing comes for the first disk for so long that nobody counts on it.
        case .silent, .late: break
        case .cut:
            isOpen.withLockedValue { $0 = false }
            shared.recheck()
        case .cancelled: waiting.cancel()
        }
        let result = await waiting.result
        switch end {
        case .come, .withdrawn, .gone, .silent: #expect(try result.get())
        case .late: #expect(try !result.get())
        case .cut: #expect(throws: PeerError.self) { try result.get() }
        case .cancelled: #expect(throws: CancellationError.self) { try result.get() }
        }
        withExtendedLifetime(first) {}
    }

    /// A question of another host's disk that began to arrive so long after `order`, in microseconds; before it if negative.
    private func question(_ order: ArrivalOrder, _ later: Int, wait: UInt32, domains: [String] = []) -> ArrivalQuestion
    {
        let time = UInt64(Int(order.time) + later)
        return ArrivalQuestion(
            id: 1, order: ArrivalOrder(time: time, number: 0), wait: wait, blockSize: 4096, domains: domains,
            prefixes: Self.prefixes)
    }

    @Test("Another host asks for a later disk -> it hears of blocks once they have come; not for an earlier one")
    func asked() async throws {
        let image = try image("first")
        let bytes = (0..<4).map { [UInt8](repeating: UInt8($0 + 1), count: 4096) }
        let prints = bytes.map { block in block.withUnsafeBytes { BlockHasher().fingerprint($0) } }
        for (block, content) in bytes.enumerated() {
            try content.withUnsafeBytes { try image.write($0, at: UInt64(block * 4096)) }
        }
        let member = shared.join(image, geometry, domains: [])
        func question(_ later: Int, domains: [String] = []) -> ArrivalQuestion {
            var question = self.question(member.order, later, wait: 60_000, domains: domains)
            question.prefixes = prints.map(\.high)
            return question
        }
        member.promise(prints.map(\.high))
        // A disk that began earlier does not wait, and neither does one that may not share.
        let earlier = await shared.answer(question(-1)) { true }
        #expect(earlier.hasDisks && !earlier.isLate && earlier.has == [false, false, false, false])
        let foreign = await shared.answer(question(1, domains: ["a"])) { true }
        #expect(!foreign.hasDisks && foreign.has == [false, false, false, false])
        let later = Task { [shared] in await shared.answer(question(1)) { true } }
        member.add(Array(prints[..<3]), from: 0)
        member.withdrawPromises()
        #expect(await later.value.has == [true, true, true, false])

        // Bytes that have changed since are not given.
        try [UInt8](repeating: 9, count: 4096).withUnsafeBytes { try image.write($0, at: 4096) }
        let answer = shared.read(ArrivalRead(id: 5, blockSize: 4096, domains: [], prefixes: prints.map(\.high)))
        #expect(answer.has == [true, false, true, false])
        #expect(Array(answer.payload.readableBytesView) == bytes[0] + bytes[2])
    }

    @Test("Blocks that do not come -> the other host hears so once its time is over, or at once when it is gone")
    func askedInVain() async throws {
        let image = try image("first")
        let member = shared.join(image, geometry, domains: [])
        member.promise(Self.prefixes)
        #expect(await shared.answer(question(member.order, 1, wait: 1)) { true }.isLate)
        let gone = await shared.answer(question(member.order, 1, wait: 60_000)) { false }
        #expect(!gone.isLate && gone.has == [false, false, false, false])
    }
}
