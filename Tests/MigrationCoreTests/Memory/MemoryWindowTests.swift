import PeerModel
import Testing

@testable import MigrationCore
@testable import MigrationProtocol

@Suite("The window of a memory stream")
struct MemoryWindowTests {
    private static func path(_ bytesPerSecond: UInt64, milliseconds: Int) -> PathState {
        PathState(
            roundTrip: .seconds(9), shortestRoundTrip: .milliseconds(milliseconds), bytesPerSecond: bytesPerSecond)
    }

    /// The bytes on the link up to which more may be taken.
    private static func limit(over path: PathState?, at stage: MemoryStage = .preCopy) -> UInt64 {
        var range: Range<UInt64> = 0..<1 << 40
        while range.count > 1 {
            let middle = range.lowerBound + UInt64(range.count) / 2
            var window = MemoryWindow()
            window.send(stream: 1, onLink: middle - 1)
            range = window.mayTake(over: path, at: stage) ? middle..<range.upperBound : range.lowerBound..<middle
        }
        return range.lowerBound
    }

    @Test(
        "A path -> as much may be on the link as it carries in a round trip and 50 ms, and 128 KiB in any case",
        arguments: [
            (nil, 128 << 10), (path(100_000_000, milliseconds: 0), 5_000_000),
            (path(100_000_000, milliseconds: 50), 10_000_000), (path(12_500_000, milliseconds: 150), 2_500_000),
            (path(1000, milliseconds: 100), 128 << 10), (path(0, milliseconds: 0), 128 << 10),
            (path(100_000_000, milliseconds: -70), 128 << 10),
        ] as [(PathState?, UInt64)])
    func limit(_ path: PathState?, _ bytes: UInt64) {
        #expect(Self.limit(over: path) == bytes)
    }

    @Test(
        "Post-copy -> as much as the link carries in a round trip and 10 ms, and 64 KiB in any case",
        arguments: [
            (nil, 64 << 10), (path(100_000_000, milliseconds: 0), 1_000_000),
            (path(12_500_000, milliseconds: 40), 625_000), (path(1000, milliseconds: 100), 64 << 10),
        ] as [(PathState?, UInt64)])
    func postCopyLimit(_ path: PathState?, _ bytes: UInt64) {
        for stage in [MemoryStage.postCopy, .requested] { #expect(Self.limit(over: path, at: stage) == bytes) }
    }

    @Test("Post-copy, 4 MiB of the stream under way -> no more, however little of it is on the link")
    func postCopyStream() {
        let fast = Self.path(10_000_000_000, milliseconds: 100)
        var window = MemoryWindow()
        window.send(stream: 4 << 20 - 1, onLink: 100)
        #expect(window.mayTake(over: fast, at: .postCopy))
        window.send(stream: 1, onLink: 100)
        #expect(!window.mayTake(over: fast, at: .postCopy) && window.mayTake(over: fast))
    }

    @Test("A path of any rate and round trip -> a limit, and no overflow")
    func extremes() {
        for rate in [0, 1, UInt64.max] {
            for roundTrip in [Duration.zero, .seconds(Int64.max / 2), .seconds(-Int64.max / 2), .nanoseconds(1)] {
                let path = PathState(roundTrip: .zero, shortestRoundTrip: roundTrip, bytesPerSecond: rate)
                #expect(MemoryWindow().mayTake(over: path))
            }
        }
    }

    @Test("24 MiB of the stream under way -> no more, however little of it is on the link")
    func stream() throws {
        let fast = Self.path(10_000_000_000, milliseconds: 100)
        var window = MemoryWindow()
        for _ in 0..<23 { window.send(stream: 1 << 20, onLink: 100) }
        window.send(stream: 1 << 20 - 1, onLink: 100)
        #expect(window.mayTake(over: fast))
        window.send(stream: 1, onLink: 100)
        #expect(!window.mayTake(over: fast))
        try window.deliver(upTo: 1)
        #expect(window.mayTake(over: fast))
    }

    @Test("1024 batches under way -> no more, however small they are")
    func batches() throws {
        let fast = Self.path(10_000_000_000, milliseconds: 100)
        var window = MemoryWindow()
        for _ in 0..<1023 { window.send(stream: 1, onLink: 1) }
        #expect(window.mayTake(over: fast))
        window.send(stream: 1, onLink: 1)
        #expect(!window.mayTake(over: fast))
        try window.deliver(upTo: 1)
        #expect(window.mayTake(over: fast))
    }

    @Test("Batches are delivered in their order -> all that they took is free again")
    func deliver() throws {
        var window = MemoryWindow()
        #expect(window.isEmpty)
        window.send(stream: 5, onLink: 128 << 10)
        window.send(stream: 5, onLink: 3)
        #expect(!window.mayTake(over: nil) && window.sent == 2 && window.delivered == 0)
        try window.deliver(upTo: 0)
        try window.deliver(upTo: 1)
        try window.deliver(upTo: 1)
        #expect(window.mayTake(over: nil) && !window.isEmpty && window.delivered == 1)
        try window.deliver(upTo: 2)
        #expect(window.isEmpty && window.delivered == 2)
    }

    @Test("More than was sent, or fewer than before -> is refused", arguments: [0, 3, .max] as [UInt64])
    func outOfRange(_ count: UInt64) throws {
        var window = MemoryWindow()
        window.send(stream: 5, onLink: 1)
        window.send(stream: 5, onLink: 1)
        try window.deliver(upTo: 1)
        #expect(throws: MigrationError.self) { try window.deliver(upTo: count) }
        #expect(window.delivered == 1 && !window.isEmpty)
    }
}
