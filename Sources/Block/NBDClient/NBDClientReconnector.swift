import Dispatch
import Glibc
import Ring

/// Makes a lost connection again, on a thread of its own.
///
/// `@unchecked Sendable`: used on its loop's thread only.
final class NBDClientReconnector: @unchecked Sendable {
    /// Seconds after which an attempt fails.
    private static let limitSeconds = 30.0
    /// Microseconds between two tries.
    private static let pauseMicroseconds: useconds_t = 250_000

    private let uri: String
    private let loop: EventLoop
    private var isConnecting = false
    private var lastAttempt = DispatchTime(uptimeNanoseconds: 1)

    init(uri: String, loop: EventLoop) {
        self.uri = uri
        self.loop = loop
    }

    /// Connects and calls `done` on the loop's thread, with nil after `limitSeconds`. Does nothing while an attempt runs.
    func connect(then done: @escaping @Sendable (NBDClientLink?) -> Void) {
        guard !isConnecting else { return }
        isConnecting = true
        // A server that accepts connections and drops them must not keep a core busy.
        let isAgain = DispatchTime.now() < lastAttempt + .microseconds(Int(Self.pauseMicroseconds))
        lastAttempt = .now()
        DispatchQueue.global().async { [self, uri] in
            if isAgain { usleep(Self.pauseMicroseconds) }
            let found = Self.connect(uri)
            loop.post { [self] in
                isConnecting = false
                done(found)
            }
        }
    }

    /// Blocks the thread for at most `limitSeconds` and one try.
    private static func connect(_ uri: String) -> NBDClientLink? {
        let end = DispatchTime.now() + limitSeconds
        repeat {
            if let link = try? NBDClientLink(uri: uri) { return link }
            usleep(pauseMicroseconds)
        } while DispatchTime.now() < end
        return nil
    }
}
