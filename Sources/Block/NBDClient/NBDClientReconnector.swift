import Dispatch
import Glibc
import Ring

/// Makes a lost connection again, on a thread of its own.
///
/// `@unchecked Sendable`: used on its loop's thread only.
final class NBDClientReconnector: @unchecked Sendable {
    /// Seconds for which a request waits for a connection.
    static let limitSeconds = 30
    /// Seconds after which a server that does not leave a lost connection is not waited for.
    private static let endSeconds = 5
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

    /// Connects and calls `done` on the loop's thread, with nil after `end`. Does nothing while an attempt runs.
    /// - Parameters:
    ///   - closing: the lost connection, which the server must leave first. A command that it still has from there must not be
    ///     carried out after those from here.
    ///   - end: the time at which the first request stops waiting.
    func connect(
        after closing: ClosingSocket? = nil, until end: DispatchTime,
        then done: @escaping @Sendable (NBDClientLink?) -> Void
    ) {
        guard !isConnecting else { return }
        isConnecting = true
        // A server that accepts connections and drops them must not keep a core busy.
        let isAgain = DispatchTime.now() < lastAttempt + .microseconds(Int(Self.pauseMicroseconds))
        lastAttempt = .now()
        DispatchQueue.global().async { [self, uri] in
            closing?.waitForEnd(seconds: Self.endSeconds)
            if isAgain { usleep(Self.pauseMicroseconds) }
            let found = Self.connect(uri, until: end)
            loop.post { [self] in
                isConnecting = false
                done(found)
            }
        }
    }

    /// Blocks the thread until `end`, and for a last try of a second.
    private static func connect(_ uri: String, until end: DispatchTime) -> NBDClientLink? {
        repeat {
            let now = DispatchTime.now().uptimeNanoseconds
            let seconds = end.uptimeNanoseconds > now ? (end.uptimeNanoseconds - now) / 1_000_000_000 : 0
            if let link = try? NBDClientLink(uri: uri, timeoutSeconds: max(1, Int(seconds)), findsContext: true) {
                return link
            }
            usleep(pauseMicroseconds)
        } while DispatchTime.now() < end
        return nil
    }
}
