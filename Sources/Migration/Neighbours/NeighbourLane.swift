import Foundation
import Index
import Logging
import MigrationProtocol
import NIOCore
import Peer
import PeerModel

/// One connection to another host of the site, on which its images are read in the order of the requests.
///
/// Any thread but those of event loops may use it; a read blocks until its piece has come. The connection is made at first
/// use, and ended when it is idle. A host that fails is left alone for a while, and so is one whose images are not what its
/// tables say. Its blocks are misses then.
///
/// `@unchecked Sendable`: all that changes is guarded by `condition`.
final class NeighbourLane: @unchecked Sendable {
    private struct State {
        var pieces: LentPieces
        var pace: HostPace
        /// Takes the requests of the open connection; nil if there is none.
        var requests: AsyncStream<NeighbourRead>.Continuation?
        /// Distinguishes connections.
        var connection = 0
        /// The host is not asked before this time.
        var resting: ContinuousClock.Instant?
        /// The next rest after a failure: longer each time, until bytes have come.
        var nextRest = NeighbourLane.rest
        /// Pieces that were read since the connection was made.
        var read = 0
        /// Those among them that were not what the table says.
        var stale = 0
    }

    /// The time for which a host that failed is left alone, and one that has other bytes than its tables say.
    private static let (rest, longRest) = (Duration.seconds(30), Duration.seconds(600))
    private static let idleLimit = Duration.seconds(60)
    /// Stale blocks from which on a host may be left alone, if they are also half of what was read.
    private static let mostStale = 256

    private let host: String
    private let ownHost: String
    private let address: PeerAddress
    private let transport: PeerTransport
    private let logger: Logger
    private let capacity: Int
    private let condition = NSCondition()
    private var state: State

    /// - Parameters:
    ///   - host: Name of the other host, for messages.
    ///   - ownHost: Name of this host, which the other one looks up in the site.
    ///   - capacity: The most pieces that are kept.
    ///   - patience: Seconds that the waits may take beyond what the bytes that come are worth.
    init(
        host: String, ownHost: String, address: PeerAddress, transport: PeerTransport, logger: Logger, capacity: Int,
        patience: Double
    ) {
        self.host = host
        self.ownHost = ownHost
        self.address = address
        self.transport = transport
        self.logger = logger
        self.capacity = capacity
        state = State(pieces: LentPieces(capacity: capacity), pace: HostPace(mostDebt: patience))
    }

    deinit { state.requests?.finish() }

    /// Fills `buffer` as `NeighbourReader.read` says; blocks until the bytes have come.
    func read(_ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        let range = offset..<offset + UInt64(buffer.count)
        return withLock {
            let numbers = LentPieces.numbers(of: range)
            guard ask(table, numbers, isNeeded: true) else { return false }
            for number in numbers {
                let key = LentPieces.Key(table: table, number: number)
                guard let bytes = wait(for: key) else { return false }
                guard Self.copy(bytes, of: number, range, to: buffer) else {
                    state.pieces.drop(key)
                    return false
                }
            }
            state.read += 1
            // One answer in time does not make up for many late ones.
            if state.pace.isGood { state.nextRest = Self.rest }
            return true
        }
    }

    /// Fills `buffer` with bytes that have come already.
    /// - Returns: False if some have not.
    func copy(_ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        let range = offset..<offset + UInt64(buffer.count)
        return withLock {
            LentPieces.numbers(of: range).allSatisfy { number in
                guard case .here(let bytes) = state.pieces.content(LentPieces.Key(table: table, number: number)) else {
                    return false
                }
                return Self.copy(bytes, of: number, range, to: buffer)
            }
        }
    }

    /// Asks for bytes that will be read soon; returns at once.
    func willRead(_ table: [UInt8], _ range: Range<UInt64>) {
        withLock { _ = ask(table, LentPieces.numbers(of: range), isNeeded: false) }
    }

    /// How long a further read would take; nil while the host is left alone.
    var expectedWait: Duration? { withLock { isResting ? nil : state.pace.expectedWait } }

    /// Whether the host is left alone. Call under the lock.
    private var isResting: Bool { state.resting.map { $0 > .now } ?? false }

    /// Says that bytes are not those of the table. Those that this lane does not have are another lane's.
    func wasStale(_ table: [UInt8], at offset: UInt64) {
        withLock {
            let key = LentPieces.Key(table: table, number: offset / LentPieces.length)
            guard !isResting, state.pieces.drop(key) else { return }
            state.stale += 1
            guard state.stale >= Self.mostStale, state.stale * 2 >= state.read else { return }
            logger.notice(
                "images of the host '\(host)' are not what its tables say; they are no neighbours for 10 minutes")
            (state.read, state.stale) = (0, 0)
            fail(for: Self.longRest)
        }
    }

    // MARK: Pieces

    /// Call under the lock.
    /// - Returns: False if the host can't be asked now.
    private func ask(_ table: [UInt8], _ numbers: Range<UInt64>, isNeeded: Bool) -> Bool {
        if let resting = state.resting {
            guard resting <= .now else { return false }
            state.resting = nil
        }
        let reads = state.pieces.ask(table, numbers, isNeeded: isNeeded)
        guard !reads.isEmpty else { return true }
        let requests = state.requests ?? connect()
        for read in reads {
            state.pace.ask(read.id, bytes: UInt64(read.length), now: .now)
            requests.yield(read)
        }
        return true
    }

    /// Call under the lock, which it gives up while it waits.
    /// - Returns: Nil if the piece has not come in time.
    private func wait(for key: LentPieces.Key) -> [UInt8]? {
        while true {
            switch state.pieces.content(key) {
            case .here(let bytes): return bytes
            case nil: return nil
            case .asked:
                let start = ContinuousClock.now
                if !state.pace.isTooSlow {
                    // The condition follows a clock that may be set.
                    let patience = min(0.5, state.pace.patience / .seconds(1))
                    _ = condition.wait(until: Date(timeIntervalSinceNow: patience))
                    state.pace.wait(from: start, to: .now)
                    continue
                }
                logger.notice(
                    "the host '\(host)' at \(address) is too slow to read from; its images are no neighbours now")
                failForAWhile()
                return nil
            }
        }
    }

    private static func copy(
        _ bytes: [UInt8], of number: UInt64, _ range: Range<UInt64>, to buffer: UnsafeMutableRawBufferPointer
    ) -> Bool {
        let start = number * LentPieces.length
        let part = range.clamped(to: start..<start + LentPieces.length)
        guard part.upperBound - start <= UInt64(bytes.count) else { return false }
        bytes.withUnsafeBytes {
            let from = UnsafeRawBufferPointer(rebasing: $0[Int(part.lowerBound - start)..<Int(part.upperBound - start)])
            let to = Int(part.lowerBound - range.lowerBound)
            UnsafeMutableRawBufferPointer(rebasing: buffer[to..<to + from.count]).copyMemory(from: from)
        }
        return true
    }

    // MARK: The connection

    /// Begins a connection. Call under the lock.
    private func connect() -> AsyncStream<NeighbourRead>.Continuation {
        let (stream, requests) = AsyncStream<NeighbourRead>.makeStream()
        state.requests = requests
        state.connection += 1
        (state.read, state.stale) = (0, 0)
        let number = state.connection
        // The connection does not keep this object.
        let take: @Sendable (NeighbourBytes) -> Bool = { [weak self] in self?.take($0, number) ?? false }
        let ended: @Sendable ((any Error)?) -> Void = { [weak self] in self?.ended(number, $0) }
        Task { [address, transport, ownHost] in
            do {
                try await PeerConnection.connect(to: address, on: transport) {
                    try await Self.carry(stream, over: $0, as: ownHost, take)
                }
                ended(nil)
            } catch {
                ended(error)
            }
        }
        return requests
    }

    private static func carry(
        _ requests: AsyncStream<NeighbourRead>, over connection: PeerConnection, as ownHost: String,
        _ take: @escaping @Sendable (NeighbourBytes) -> Bool
    ) async throws {
        var frames = connection.inbound.makeAsyncIterator()
        let hello = Hello(purpose: .neighbours, migration: MigrationID(), export: ownHost)
        let welcome = try await connection.greet(hello, &frames)
        guard welcome.support.capabilities.contains(.neighbours) else {
            throw MigrationError.refused("its release lends no neighbours")
        }
        let timeout = IdleTimeout(idleLimit, for: connection)
        defer { timeout.end() }
        let sending = Task {
            for await read in requests {
                timeout.renew()
                try await connection.send(Message.neighbourRead(read).encoded())
            }
            connection.close()
        }
        defer { sending.cancel() }
        while let frame = try await frames.next() {
            timeout.renew()
            switch try Message(frame: frame) {
            case .neighbourBytes(let answer):
                guard take(answer) else { throw MigrationError.unexpected("bytes that nobody has asked for") }
            case .refused(let reason): throw MigrationError.refused(reason)
            default: throw MigrationError.unexpected("no bytes of a neighbour")
            }
        }
    }

    private func take(_ answer: NeighbourBytes, _ number: Int) -> Bool {
        let bytes = Array(answer.payload.readableBytesView)
        return withLock {
            guard state.connection == number else { return true }
            defer { condition.broadcast() }
            state.pace.answer(answer.id, now: .now)
            SiteMetrics.countBorrowed(bytes.count)
            return state.pieces.take(answer.id, bytes)
        }
    }

    private func ended(_ number: Int, _ error: (any Error)?) {
        withLock {
            guard state.connection == number, state.requests != nil else { return }
            let isAwaited = state.pieces.isWaiting
            if isAwaited, let error {
                logger.notice("images of the host '\(host)' at \(address) are no neighbours now: \(error.plainReason)")
            }
            if isAwaited { return failForAWhile() }
            fail(for: nil)
            // An idle host needs no memory.
            state.pieces = LentPieces(capacity: capacity)
        }
    }

    /// Leaves the host alone, longer each time. Call under the lock.
    private func failForAWhile() {
        fail(for: state.nextRest)
        state.nextRest = min(Self.longRest, state.nextRest * 2)
    }

    /// Ends the connection; all that wait get nothing. Call under the lock.
    private func fail(for rest: Duration?) {
        state.requests?.finish()
        state.requests = nil
        state.pieces.giveUp()
        state.pace.giveUp()
        state.resting = rest.map { .now + $0 }
        condition.broadcast()
    }

    private func withLock<Result>(_ body: () -> Result) -> Result {
        condition.lock()
        defer { condition.unlock() }
        return body()
    }
}
