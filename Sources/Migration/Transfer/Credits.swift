/// How much may be under way: whoever sends more takes a credit for it, and gets it back once that is dealt with. For one
/// taker at a time.
struct Credits: Sendable {
    private let left = AsyncStream.makeStream(of: Void.self)

    init(_ count: Int) {
        for _ in 0..<count { giveBack() }
    }

    /// Takes one, and waits until there is one.
    /// - Throws: `CancellationError` where none will be given back any more.
    func take() async throws {
        var left = left.stream.makeAsyncIterator()
        guard await left.next() != nil else { throw CancellationError() }
    }

    /// One is free again.
    func giveBack() { left.continuation.yield() }

    /// None will be given back any more: whoever waits for one waits in vain.
    func end() { left.continuation.finish() }
}
