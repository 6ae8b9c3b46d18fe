import Synchronization

/// How long a frame of a connection may be; raised once it is known what the connection is for.
final class FrameLimit: Sendable {
    private let value: Atomic<Int>

    init(_ bytes: Int) {
        value = Atomic(bytes)
    }

    var bytes: Int { value.load(ordering: .relaxed) }

    func raise(to bytes: Int) { value.store(bytes, ordering: .relaxed) }
}
