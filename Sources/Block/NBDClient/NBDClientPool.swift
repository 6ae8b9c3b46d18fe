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

    /// A connection, and the newest generation of `durability` in which a call began that it has answered.
    private struct HeardLink {
        let link: NBDClientLink
        var heardIn: UInt64
    }

    private struct State {
        var idle: [HeardLink] = []
        /// Descriptors of connections in use, to be shut down by `stop`.
        var used: Set<CInt> = []
        var isStopped = false
    }

    private let uri: String
    private let traits: NBDClientTraits
    private let durability: NBDClientDurability
    private let writer: NBDClientDurability.Writer?
    /// Limits the connections in use.
    private let places: DispatchSemaphore
    private let state = NIOLockedValueBox(State())

    /// Creates a pool without connections.
    /// - Parameters:
    ///   - traits: the properties that every connection must show.
    ///   - most: connections at once, at least 1.
    ///   - durability: is told of connections that are lost, before others are made.
    ///   - writer: who writes on the connection, of which there is then one at a time; nil if nobody does.
    init(
        uri: String, traits: NBDClientTraits, most: Int, durability: NBDClientDurability,
        writer: NBDClientDurability.Writer? = nil
    ) {
        precondition(writer == nil || most == 1)
        self.uri = uri
        self.traits = traits
        self.durability = durability
        self.writer = writer
        places = DispatchSemaphore(value: most)
    }

    deinit {
        for idle in state.withLockedValue({ $0.idle }) { idle.link.leave() }
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
        var taken = try take()
        let generation = durability.generation
        let link = taken.link
        do {
            let result = try body(link)
            taken.heardIn = generation
            give(taken)
            return result
        } catch let error as NBDClientError {
            // A command that was not answered in time makes the connection unusable, and a server that is about to end says so.
            guard link.isBroken || error.code == ETIMEDOUT || error.code == ESHUTDOWN else {
                give(taken)
                throw error
            }
            drop(link)
            durability.recordLostConnection(heardIn: taken.heardIn)
            throw error.ofConnection
        }
    }

    private func take() throws -> HeardLink {
        let idle = try state.withLockedValue { state -> HeardLink? in
            guard !state.isStopped else { throw NBDClientError(uri, "this node is about to end", code: ESHUTDOWN) }
            guard let idle = state.idle.popLast() else { return nil }
            state.used.insert(idle.link.descriptor)
            return idle
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
        if let writer { durability.recordConnection(of: writer) }
        return HeardLink(link: link, heardIn: durability.generation)
    }

    private func give(_ taken: HeardLink) {
        state.withLockedValue { state in
            state.used.remove(taken.link.descriptor)
            state.idle.append(taken)
        }
    }

    private func drop(_ link: NBDClientLink) {
        // Closed only when `stop` can't find the descriptor any more: another file may get its number.
        _ = state.withLockedValue { $0.used.remove(link.descriptor) }
        nbd_close(link.handle)
    }
}
