import CLibNBD
import Dispatch
import Glibc
import NIOConcurrencyHelpers

/// Connections to another NBD server for worker threads, made when they are needed.
///
/// A command whose connection is lost is sent again on a new one, for as long as clients' requests wait
/// (`NBDClientConnection`). Any thread may use it.
final class NBDClientPool: Sendable {
    /// Seconds from the first loss of a connection until a call fails.
    static let retrySeconds = 30
    /// Milliseconds before a lost connection is made again.
    private static let pauseMilliseconds: useconds_t = 250

    private struct State {
        var idle: [NBDClientLink] = []
        /// Descriptors of connections in use, to be shut down by `stop`.
        var used: Set<CInt> = []
        var isStopped = false
    }

    private let uri: String
    private let traits: NBDClientTraits
    private let lost: @Sendable () -> Void
    /// Limits the connections in use.
    private let places: DispatchSemaphore
    private let state = NIOLockedValueBox(State())

    /// Creates a pool without connections.
    /// - Parameters:
    ///   - traits: the properties that every connection must show.
    ///   - most: connections at once, at least 1.
    ///   - lost: called for each connection that is lost, before another is made.
    init(uri: String, traits: NBDClientTraits, most: Int, lost: @escaping @Sendable () -> Void) {
        self.uri = uri
        self.traits = traits
        self.lost = lost
        places = DispatchSemaphore(value: most)
    }

    deinit {
        for link in state.withLockedValue({ $0.idle }) { link.leave() }
    }

    /// Ends calls that wait for the server, now and from now on, with `ESHUTDOWN`.
    func stop() {
        state.withLockedValue { state in
            state.isStopped = true
            for descriptor in state.used { shutdown(descriptor, CInt(SHUT_RDWR)) }
        }
    }

    /// Runs `body` on a connection, and again on others while connections are lost. Blocks the thread.
    /// - Throws: `NBDClientError`: of the server's answer, or of the last attempt.
    func withLink<Result>(_ body: (NBDClientLink) throws -> Result) throws -> Result {
        places.wait()
        defer { places.signal() }
        var end: DispatchTime?
        while true {
            do {
                return try attempt(body)
            } catch let error as NBDClientError where error.isOfConnection {
                let now = DispatchTime.now()
                let limit = end ?? now + .seconds(Self.retrySeconds)
                end = limit
                guard now < limit, !state.withLockedValue({ $0.isStopped }) else { throw error }
                usleep(Self.pauseMilliseconds * 1000)
            }
        }
    }

    private func attempt<Result>(_ body: (NBDClientLink) throws -> Result) throws -> Result {
        let link = try take()
        do {
            let result = try body(link)
            give(link)
            return result
        } catch let error as NBDClientError {
            // A command that was not answered in time makes the connection unusable, and a server that is about to end says so.
            guard link.isBroken || error.code == ETIMEDOUT || error.code == ESHUTDOWN else {
                give(link)
                throw error
            }
            drop(link)
            lost()
            throw error.ofConnection
        }
    }

    private func take() throws -> NBDClientLink {
        let idle = try state.withLockedValue { state -> NBDClientLink? in
            guard !state.isStopped else { throw NBDClientError(uri, "this node is about to end", code: ESHUTDOWN) }
            guard let link = state.idle.popLast() else { return nil }
            state.used.insert(link.descriptor)
            return link
        }
        if let idle { return idle }
        let link: NBDClientLink
        do {
            link = try NBDClientLink(uri: uri, timeoutSeconds: Self.retrySeconds)
        } catch let error as NBDClientError {
            throw error.ofConnection
        }
        guard link.traits == traits else {
            link.leave()
            throw NBDClientError(uri, link.traits.difference(from: traits), code: ESTALE)
        }
        let isStopped = state.withLockedValue { state in
            state.used.insert(link.descriptor)
            return state.isStopped
        }
        if isStopped { shutdown(link.descriptor, CInt(SHUT_RDWR)) }
        return link
    }

    private func give(_ link: NBDClientLink) {
        state.withLockedValue { state in
            state.used.remove(link.descriptor)
            state.idle.append(link)
        }
    }

    private func drop(_ link: NBDClientLink) {
        // Closed only when `stop` can't find the descriptor any more: another file may get its number.
        _ = state.withLockedValue { $0.used.remove(link.descriptor) }
        nbd_close(link.handle)
    }
}
