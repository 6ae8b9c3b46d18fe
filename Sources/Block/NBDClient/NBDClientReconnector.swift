import Dispatch
import Glibc
import Ring

/// Makes a lost connection again, on a thread of its own.
///
/// `@unchecked Sendable`: used on its loop's thread only.
final class NBDClientReconnector: @unchecked Sendable {
    /// Seconds after which an attempt fails.
    static let limitSeconds = 30
    /// Microseconds between two tries.
    private static let pauseMicroseconds: useconds_t = 250_000

    private let uri: String
    private let loop: EventLoop
    private let limitSeconds: Int
    private var isConnecting = false
    private var lastAttempt = DispatchTime(uptimeNanoseconds: 1)

    init(uri: String, loop: EventLoop, limitSeconds: Int = NBDClientReconnector.limitSeconds) {
        self.uri = uri
        self.loop = loop
        self.limitSeconds = limitSeconds
    }

    /// Connects and calls `done` on the loop's thread, with nil after `limitSeconds`. Does nothing while an attempt runs.
    func connect(then done: @escaping @Sendable (NBDClientLink?) -> Void) {
        guard !isConnecting else { return }
        isConnecting = true
        // A server that accepts connections and drops them must not keep a core busy.
        let isAgain = DispatchTime.now() < lastAttempt + .microseconds(Int(Self.pauseMicroseconds))
        lastAttempt = .now()
        DispatchQueue.global().async { [self, uri, limitSeconds] in
            if isAgain { usleep(Self.pauseMicroseconds) }
            let found = Self.connect(uri, limitSeconds)
            loop.post { [self] in
                isConnecting = false
                done(found)
            }
        }
    }

    /// Blocks the thread for at most `limitSeconds` and one try, which takes no longer.
    private static func connect(_ uri: String, _ limitSeconds: Int) -> NBDClientLink? {
        let end = DispatchTime.now() + .seconds(limitSeconds)
        repeat {
            if let link = try? NBDClientLink(uri: uri, timeoutSeconds: limitSeconds) { return link }
            usleep(pauseMicroseconds)
        } while DispatchTime.now() < end
        return nil
    }
}
