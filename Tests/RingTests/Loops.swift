import Ring

/// Runs `body` with a loop, and stops the loop afterwards.
func withLoop(_ body: (EventLoop) async throws -> Void) async throws {
    let loop = try EventLoop(index: 0)
    defer { loop.stop() }
    try await body(loop)
}

/// One operation whose end can be awaited; it keeps itself alive until then.
final class AwaitedOperation: RingHandler {
    private let ended: (Int32) -> Void
    private var itself: AwaitedOperation?

    private init(ended: @escaping (Int32) -> Void) { self.ended = ended }

    /// Begins an operation on the loop's thread and returns its result.
    static func result(
        on loop: EventLoop, _ begin: @escaping @Sendable (UnsafeMutablePointer<RingOperation>) -> Void
    ) async -> Int32 {
        await withCheckedContinuation { continuation in
            loop.post { start(begin) { continuation.resume(returning: $0) } }
        }
    }

    /// Begins an operation; on the loop's thread.
    static func start(
        _ begin: (UnsafeMutablePointer<RingOperation>) -> Void, ended: @escaping (Int32) -> Void
    ) {
        let handler = AwaitedOperation(ended: ended)
        handler.itself = handler
        let operation = UnsafeMutablePointer<RingOperation>.allocate(capacity: 1)
        operation.initialize(to: RingOperation(handler: handler))
        begin(operation)
    }

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        operation.deallocate()
        ended(result)
        itself = nil
    }
}

/// Memory for the ring's operations; it is freed with this object.
final class Memory: @unchecked Sendable {
    let bytes: UnsafeMutableRawBufferPointer

    init(_ contents: [UInt8]) {
        bytes = .allocate(byteCount: contents.count, alignment: 4096)
        bytes.copyBytes(from: contents)
    }

    deinit { bytes.deallocate() }

    var base: UnsafeMutableRawPointer { bytes.baseAddress! }
    var contents: [UInt8] { Array(bytes) }
}
