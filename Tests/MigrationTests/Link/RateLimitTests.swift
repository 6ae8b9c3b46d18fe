import Peer
import Testing

@Suite("The rate limit", .timeLimit(.minutes(10)))
struct RateLimitTests {
    @Test("A new limit, and the end of the wish, are heard by who waits")
    func isHeard() async throws {
        let limit = RateLimit(bitsPerSecond: 8)
        try await limit.wait(for: 1000) { true }
        let waiting = Task { try await limit.wait(for: 1) { true } }
        try await Task.sleep(for: .milliseconds(20))
        limit.set(bitsPerSecond: 1_000_000)
        try await waiting.value

        limit.set(bitsPerSecond: 8)
        try await limit.wait(for: 1000) { true }
        await #expect(throws: CancellationError.self) { try await limit.wait(for: 1) { false } }
        limit.set(bitsPerSecond: nil)
        try await limit.wait(for: 1 << 40) { true }
    }

    @Test("A long frame has gone -> one that goes ahead does not wait for it, and others do", .timeLimit(.minutes(1)))
    func ahead() async throws {
        let limit = RateLimit(bitsPerSecond: 8000)
        // It takes the link for more than an hour.
        try await limit.wait(for: 4 << 20) { true }
        try await limit.wait(for: 100, isAhead: true) { true }
        await #expect(throws: CancellationError.self) { try await limit.wait(for: 1) { false } }
    }

    @Test("Frames that go ahead -> they keep to the limit, too")
    func aheadKeepsToTheLimit() async throws {
        let limit = RateLimit(bitsPerSecond: 8000)
        try await limit.wait(for: 4 << 20, isAhead: true) { true }
        await #expect(throws: CancellationError.self) { try await limit.wait(for: 1, isAhead: true) { false } }
    }
}
