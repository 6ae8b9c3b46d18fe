/// Bounds the number of items under way. A sender acquires a permit for each item, and the permit is released once the
/// item has been processed. Only one task at a time may acquire.
struct AsyncSemaphore: Sendable {
    private let permits = AsyncStream.makeStream(of: Void.self)

    /// - Parameter count: permits at first.
    init(_ count: Int) {
        for _ in 0..<count { release() }
    }

    /// Takes a permit, and waits until there is one.
    /// - Throws: `CancellationError` if the semaphore is closed.
    func acquire() async throws {
        var permits = permits.stream.makeAsyncIterator()
        guard await permits.next() != nil else { throw CancellationError() }
    }

    /// Makes a permit available.
    func release() { permits.continuation.yield() }

    /// No permit will be released any more: `acquire` throws from now on.
    func close() { permits.continuation.finish() }
}
