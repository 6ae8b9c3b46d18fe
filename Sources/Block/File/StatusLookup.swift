import Dispatch
import Glibc
import NIOConcurrencyHelpers
import Synchronization

/// Finds the extents of an image for block statuses: on one thread, in short turns of its clients. A heavily
/// fragmented image has an extent for each block, and each costs two system calls.
///
/// - A client's status waits at most `rotation`, however many statuses others have asked for. It is answered within
///   `longest` more, with the extents found by then.
/// - A client that is gone gets no look; one that is about to leave gets the least that makes an answer.
///
/// Any thread may call `add`.
final class StatusLookup: Sendable {
    /// Nanoseconds in which every waiting client has a turn; a slow look takes longer.
    static let rotation: UInt64 = 20_000_000
    /// Nanoseconds from the first look for a request to its answer, which may then be short.
    static let longest: UInt64 = 40_000_000

    private struct State {
        /// The address of its owner identifies a client; owners live as long as their requests.
        var queue = TurnQueue<UInt, PendingRequest>()
        var isWorking = false
    }

    private let image: RawImage
    /// Statuses have a queue of their own, since a forced trim may take seconds.
    let worker = DispatchQueue(label: "nearblock.statuses")
    private let rotation: UInt64
    private let state = NIOLockedValueBox(State())
    private let count = Synchronization.Atomic(0)

    /// Creates a lookup for `image`.
    /// - Parameter rotation: nanoseconds; 0 for one look or answer in each turn.
    init(image: RawImage, rotation: UInt64 = StatusLookup.rotation) {
        self.image = image
        self.rotation = rotation
    }

    /// The number of looks at the file so far, each for a hole and the data behind it.
    var looks: Int { count.load(ordering: .relaxed) }

    /// Queues a status; it ends on its port's loop.
    func add(_ pending: PendingRequest) {
        pending.request.pointee.progress = 0
        pending.request.pointee.deadline = .max
        let begins = state.withLockedValue { state in
            state.queue.add(pending, of: UInt(bitPattern: pending.request.pointee.owner.toOpaque()))
            defer { state.isWorking = true }
            return !state.isWorking
        }
        if begins { nextTurn() }
    }

    private func nextTurn() {
        worker.async { [self] in
            let next = state.withLockedValue { state -> (PendingRequest, clients: Int)? in
                guard let first = state.queue.first else {
                    state.isWorking = false
                    return nil
                }
                return (first, state.queue.clientCount)
            }
            guard let (pending, clients) = next else { return }
            runTurn(pending, until: WritePace.now() + rotation / UInt64(clients))
            nextTurn()
        }
    }

    /// Works on one request until `end`, or on all requests of its client if those are not wanted in full.
    private func runTurn(_ first: PendingRequest, until end: UInt64) {
        var pending = first
        while let error = look(pending.request, until: end) {
            let wasFull = Self.detail(of: pending.request) == .full
            let next = state.withLockedValue { $0.queue.removeFirst() }
            pending.finish(error: error)
            guard let next else { return }
            guard !wasFull, WritePace.now() < end else { break }
            pending = next
        }
        state.withLockedValue { $0.queue.rotate() }
    }

    /// Looks for extents until `end`.
    /// - Returns: 0 or an `errno` if the request has ended; nil if it continues in the next turn.
    private func look(_ request: UnsafeMutablePointer<BlockRequest>, until end: UInt64) -> CInt? {
        if request.pointee.deadline == .max { request.pointee.deadline = WritePace.now() + Self.longest }
        var hasEnded = true
        let error = FileError.outcome {
            try checkEnd(request)
            while Self.detail(of: request) != .nothing, try addNextExtents(to: request) {
                guard Self.detail(of: request) == .full else { return }
                let now = WritePace.now()
                if now >= request.pointee.deadline { return }
                if now >= end {
                    hasEnded = false
                    return
                }
            }
        }
        if Self.detail(of: request) == .nothing { return ESHUTDOWN }
        return hasEnded ? error : nil
    }

    /// Fails if the request goes beyond the end of the file, which must not pass for a hole that reads as zeros.
    private func checkEnd(_ request: UnsafeMutablePointer<BlockRequest>) throws {
        guard try image.currentSize() < request.pointee.offset + request.pointee.length else { return }
        image.lookAtEnd()
        throw FileError("look for data in", image.path, code: EIO)
    }

    /// Adds the next hole and the next data, or the one of them that exists.
    /// - Returns: whether more may follow.
    private func addNextExtents(to request: UnsafeMutablePointer<BlockRequest>) throws -> Bool {
        let end = request.pointee.offset + request.pointee.length
        let position = request.pointee.offset + UInt64(request.pointee.progress)
        count.wrappingAdd(1, ordering: .relaxed)
        let data = try image.nextData(from: position)
        let start = min(data?.lowerBound ?? end, end)
        let stop = min(data?.upperBound ?? end, end)
        guard Self.add(position..<start, [.hole, .zero], to: request), Self.add(start..<stop, [], to: request) else {
            return false
        }
        request.pointee.progress = Int(stop - request.pointee.offset)
        return stop < end
    }

    private static func add(
        _ range: Range<UInt64>, _ state: BlockState, to request: UnsafeMutablePointer<BlockRequest>
    ) -> Bool {
        range.isEmpty
            || request.pointee.addExtent(BlockExtent(length: range.upperBound - range.lowerBound, state: state))
    }

    private static func detail(of request: UnsafeMutablePointer<BlockRequest>) -> StatusDetail {
        request.pointee.owner._withUnsafeGuaranteedRef { $0.statusDetail }
    }
}
