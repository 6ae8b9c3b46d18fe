import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Hashing
@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

/// The other host says what a test makes it say, and moves the clock by which it is judged.
@Suite("Blocks of disks that arrive at other hosts", .timeLimit(.minutes(10)))
struct ArrivalSearchTests {
    private static let blockSize = 512
    private static let blocks = (0..<600).map { block($0) }
    private static let prefixes = blocks.map { block in block.withUnsafeBytes { BlockHasher().fingerprint($0).high } }
    private static let byPrefix = Dictionary(zip(prefixes, blocks)) { first, _ in first }

    private static func block(_ number: Int) -> [UInt8] {
        var block = [UInt8](repeating: 1, count: blockSize)
        block[0] = UInt8(truncatingIfNeeded: number)
        block[1] = UInt8(truncatingIfNeeded: number >> 8)
        return block
    }

    private let clock = SteppedClock()
    private let node: TestNode
    /// Requests that have come to the other hosts: hellos, questions about blocks, and reads.
    private let came = NIOLockedValueBox((hellos: 0, questions: [ArrivalQuestion](), reads: 0))

    init() throws {
        node = try TestNode()
    }

    /// The answers of a host of the site to a question about blocks and to a read; nil for none.
    private struct Host: Sendable {
        var hasDisks = true
        var answer: @Sendable (ArrivalQuestion) -> ArrivalAnswer? = { question in
            ArrivalAnswer(
                id: question.id, hasDisks: true, isLate: false, has: question.prefixes.map { _ in true })
        }
        var read: @Sendable (ArrivalRead) -> ArrivalBytes? = { ArrivalSearchTests.give($0) }
    }

    /// The right blocks.
    private static func give(_ read: ArrivalRead) -> ArrivalBytes {
        ArrivalBytes(
            id: read.id, has: read.prefixes.map { _ in true },
            payload: ByteBuffer(bytes: read.prefixes.flatMap { byPrefix[$0]! }))
    }

    /// Limits that no clock of this machine reaches: 6000 s for a host, which wait 20 s when they are asked to.
    private var limits: ArrivalBudget.Limits {
        ArrivalBudget.Limits(host: 6000, all: 10_000, leastRate: 1, step: .seconds(20), answer: .seconds(1000))
    }

    private func withSearch(
        _ host: Host, hosts count: Int = 1, _ limits: ArrivalBudget.Limits? = nil,
        _ body: (ArrivalSearch) async throws -> Void
    ) async throws {
        let script: @Sendable (Message) -> [Message]? = { [came] message in
            switch message {
            case .hello:
                came.withLockedValue { $0.hellos += 1 }
                return [.welcome(Welcome(blockSize: 0))]
            case .arrivalQuestion(let question) where question.prefixes.isEmpty:
                return [
                    .arrivalAnswer(ArrivalAnswer(id: question.id, hasDisks: host.hasDisks, isLate: false, has: []))
                ]
            case .arrivalQuestion(let question):
                came.withLockedValue { $0.questions.append(question) }
                return host.answer(question).map { [.arrivalAnswer($0)] } ?? []
            case .arrivalRead(let read):
                came.withLockedValue { $0.reads += 1 }
                return host.read(read).map { [.arrivalBytes($0)] } ?? []
            default: return nil
            }
        }
        try await node.withPeer(answering: script) { address in
            let site = SiteArrivals(
                ownHost: "here", transport: node.transport, logger: node.logger, limits: limits ?? self.limits,
                now: { [clock] in clock.now },
                hosts: { (0..<count).map { SiteArrivals.Host(name: "other \($0)", address: address) } })
            try await body(
                ArrivalSearch(
                    site: site, order: ArrivalOrder(time: 1, number: 1), domains: [],
                    blockSize: UInt32(Self.blockSize), pool: node.pools.background))
        }
    }

    private var questions: [ArrivalQuestion] { came.withLockedValue { $0.questions } }

    @Test("An honest host has all -> asked once, and every block is found")
    func all() async throws {
        try await withSearch(Host()) { search in
            let found = await search.find(Self.prefixes + Self.prefixes)
            #expect(found.count == Set(Self.prefixes).count)
            for (prefix, block) in found {
                #expect(Array(block.bytes) == Self.byPrefix[prefix] && block.fingerprint.high == prefix)
            }
        }
        #expect(questions.count == 1 && questions[0].wait == 20_000)
    }

    @Test("A host has nothing in all its time, and is never late by its own word -> not asked for each segment")
    func useless() async throws {
        let host = Host(answer: { [clock] question in
            clock.advance(.seconds(2500))
            return ArrivalAnswer(
                id: question.id, hasDisks: true, isLate: false, has: question.prefixes.map { _ in false })
        })
        try await withSearch(host) { search in
            for _ in 0..<100 { #expect(await search.find([1, 2, 3]).isEmpty) }
        }
        #expect(questions.count == 3, "6000 s in all")
        #expect(came.withLockedValue { $0.hellos } == 1, "it is not met again")
    }

    @Test("Wrong bytes -> nothing is used, and nothing is asked of that host any more")
    func wrong() async throws {
        let host = Host(read: { read in
            ArrivalBytes(
                id: read.id, has: read.prefixes.map { _ in true },
                payload: ByteBuffer(repeating: 7, count: read.prefixes.count * Self.blockSize))
        })
        try await withSearch(host) { search in
            for _ in 0..<10 { #expect(await search.find(Self.prefixes).isEmpty) }
        }
        #expect(came.withLockedValue { $0.reads } == 1 && questions.count == 1)
    }

    @Test("Blocks are claimed and not given -> the same")
    func missing() async throws {
        let host = Host(read: { read in
            ArrivalBytes(id: read.id, has: read.prefixes.map { _ in false }, payload: ByteBuffer())
        })
        try await withSearch(host) { search in
            for _ in 0..<10 { #expect(await search.find(Self.prefixes).isEmpty) }
        }
        #expect(came.withLockedValue { $0.reads } == 1 && questions.count == 1)
    }

    @Test("Blocks come one by one, each in its time -> the disk waits far longer than the budget, until all are there")
    func slow() async throws {
        let host = Host(answer: { [clock] question in
            clock.advance(.seconds(20))
            return ArrivalAnswer(
                id: question.id, hasDisks: true, isLate: question.prefixes.count > 1,
                has: question.prefixes.indices.map { $0 == 0 })
        })
        var limits = limits
        // 50 s beyond what the bytes are worth: a block each 20 s.
        (limits.host, limits.leastRate) = (1050, Double(Self.blockSize) / 20)
        try await withSearch(host, limits) { search in
            #expect(await search.find(Array(Self.prefixes[..<100])).count == 100)
        }
        #expect(questions.count == 100)
    }

    @Test("A host says at once that more is to come -> not asked again and again")
    func hasty() async throws {
        let host = Host(answer: { question in
            ArrivalAnswer(
                id: question.id, hasDisks: true, isLate: true, has: question.prefixes.map { _ in false })
        })
        try await withSearch(host) { search in #expect(await search.find([1, 2, 3]).isEmpty) }
        #expect(questions.count == 1)
    }

    @Test("A site of many hosts -> few are asked whether disks arrive there")
    func many() async throws {
        try await withSearch(Host(hasDisks: false), hosts: 64) { search in
            for _ in 0..<3 { #expect(await search.find(Self.prefixes).isEmpty) }
        }
        #expect(came.withLockedValue { $0.hellos } == ArrivalSearch.mostAsked)
        #expect(ArrivalSearch.mostAsked * 4 <= PeerLimits.arrivalQuestions)
    }
}
