import Glibc
import NIOCore
import TestSupport
import Testing

@testable import BlockModel
@testable import MigrationCore
@testable import MigrationProtocol

@Suite("What a source remembers of forwarded requests")
struct ForwardQueueTests {
    private static let diskBytes = 64

    private func request(
        _ kind: RequestKind, _ id: UInt64, _ range: Range<Int> = 0..<0, _ value: UInt8 = 0
    ) -> ForwardRequest {
        let bytes = kind == .write ? [UInt8](repeating: value, count: range.count) : []
        return ForwardRequest(
            id: id, kind: kind, isForced: false, mayPunchHole: true, offset: UInt64(range.lowerBound),
            length: UInt64(range.count), payload: ByteBuffer(bytes: bytes))
    }

    private func perform(_ request: ForwardRequest, on disk: inout [UInt8]) {
        let range = Int(request.offset)..<Int(request.offset + request.length)
        switch request.kind {
        case .write: disk.replaceSubrange(range, with: request.payload.readableBytesView)
        case .writeZeroes: disk.replaceSubrange(range, with: repeatElement(0, count: range.count))
        default: break
        }
    }

    private func ready(_ queue: inout ForwardQueue, boot: UInt64 = 1) {
        #expect(queue.connected(boot: boot, isCommitted: true).isEmpty && queue.isReady)
    }

    private func ask(_ queue: inout ForwardQueue, _ kind: RequestKind, _ range: Range<Int> = 0..<0) -> UInt64 {
        let id = queue.begin()
        queue.leaves(request(kind, id, range, UInt8(truncatingIfNeeded: id &+ 1)))
        return id
    }

    /// A destination that loses what it likes of the changes since the last flush is brought to where it was, in any order.
    @Test func whateverIsLostIsMadeAgain() {
        var random = Seeded.fresh()
        for _ in 0..<300 {
            var queue = ForwardQueue(isResumed: false, mayRepeat: true)
            var boot: UInt64 = 1
            ready(&queue, boot: boot)
            var disk = [UInt8](repeating: 0, count: Self.diskBytes)
            var durable = disk
            for _ in 0..<Int.random(in: 1...30, using: &random) {
                switch Int.random(in: 0..<12, using: &random) {
                case 0:
                    let id = ask(&queue, .flush)
                    #expect(queue.answered(id, error: 0) == .ended(id: id, error: 0))
                    durable = disk
                case 1:
                    boot += 1
                    queue.disconnected()
                    let expected = disk
                    for index in disk.indices where Bool.random(using: &random) { disk[index] = durable[index] }
                    var again = queue.connected(boot: boot, isCommitted: true)
                    // Those that get through before the next connection are asked for once more on it.
                    if !again.isEmpty, Bool.random(using: &random) {
                        perform(again[0], on: &disk)
                        queue.disconnected()
                        again = queue.connected(boot: boot, isCommitted: true)
                    }
                    for request in again.shuffled(using: &random) {
                        #expect(!queue.isReady)
                        perform(request, on: &disk)
                        #expect(queue.answered(request.id, error: 0) != .ended(id: request.id, error: 0))
                    }
                    #expect(queue.isReady)
                    #expect(disk == expected)
                default:
                    let first = Int.random(in: 0..<Self.diskBytes, using: &random)
                    let range = first..<Int.random(in: first + 1...Self.diskBytes, using: &random)
                    let id = queue.begin()
                    let change = request(
                        random.chance(70) ? .write : .writeZeroes, id, range, .random(in: 1...255, using: &random))
                    queue.leaves(change)
                    perform(change, on: &disk)
                    #expect(queue.answered(id, error: 0) == .ended(id: id, error: 0))
                }
            }
        }
    }

    @Test func aFlushCoversWhatWasAnsweredBeforeItLeft() {
        var queue = ForwardQueue(isResumed: false, mayRepeat: true)
        ready(&queue)
        let early = ask(&queue, .write, 0..<4)
        _ = queue.answered(early, error: 0)
        let late = ask(&queue, .write, 8..<12)
        let flush = ask(&queue, .flush)
        _ = queue.answered(late, error: 0)
        _ = queue.answered(flush, error: 0)
        queue.disconnected()
        let again = queue.connected(boot: 2, isCommitted: true)
        #expect(again.map(\.offset) == [8])
    }

    @Test func whatWasNotAnsweredIsUnanswered() {
        var queue = ForwardQueue(isResumed: false, mayRepeat: true)
        ready(&queue)
        let first = ask(&queue, .write, 0..<4)
        let second = ask(&queue, .read, 0..<4)
        _ = queue.answered(first, error: 0)
        queue.disconnected()
        #expect(queue.answered(second, error: 0) == .nothing, "it was sent on a connection that is gone")
        #expect(queue.unanswered == [second])
        ready(&queue)
        queue.leaves(request(.read, second, 0..<4))
        #expect(queue.answered(second, error: 0) == .ended(id: second, error: 0))
        #expect(queue.isEmpty)
    }

    @Test func whereOthersMayWriteALossIsCounted() {
        var queue = ForwardQueue(isResumed: false, mayRepeat: false)
        ready(&queue)
        _ = queue.answered(ask(&queue, .write, 0..<4), error: 0)
        queue.disconnected()
        ready(&queue, boot: 2)
        #expect(queue.losses == 1)
        let flush = ask(&queue, .flush)
        #expect(queue.answered(flush, error: 0) == .ended(id: flush, error: 0))
        queue.disconnected()
        ready(&queue, boot: 3)
        #expect(queue.losses == 1, "nothing was unflushed")
    }

    @Test func aFlushOfOneClientThatFailsIsALossForTheOthers() {
        var queue = ForwardQueue(isResumed: false, mayRepeat: true)
        ready(&queue)
        _ = queue.answered(ask(&queue, .write, 0..<4), error: 0)
        let flush = ask(&queue, .flush)
        _ = queue.answered(ask(&queue, .write, 8..<12), error: 0)
        #expect(queue.answered(flush, error: ENOSPC) == .ended(id: flush, error: ENOSPC))
        #expect(queue.losses == 1)
        queue.disconnected()
        let again = queue.connected(boot: 2, isCommitted: true)
        #expect(again.map(\.offset) == [8], "what the flush did not cover is made again; of the rest the clients know")
    }

    @Test func aChangeThatCantBeMadeAgainIsALoss() throws {
        var queue = ForwardQueue(isResumed: false, mayRepeat: true)
        ready(&queue)
        _ = queue.answered(ask(&queue, .write, 0..<4), error: 0)
        queue.disconnected()
        let again = try #require(queue.connected(boot: 2, isCommitted: true).first)
        #expect(queue.answered(again.id, error: ENOSPC) == .ready)
        #expect(queue.losses == 1)
    }

    @Test func aNodeThatHasForwardedBeforeFlushesFirst() {
        var queue = ForwardQueue(isResumed: true, mayRepeat: false)
        let first = queue.connected(boot: 1, isCommitted: true)
        #expect(first.map(\.kind) == [.flush] && !queue.isReady)
        #expect(queue.answered(first[0].id, error: 0) == .ready)
        queue.disconnected()
        ready(&queue)
    }

    @Test func aQueueLeavesOnceAllIsAnsweredAndDurable() throws {
        var queue = ForwardQueue(isResumed: false, mayRepeat: true)
        ready(&queue)
        let first = ask(&queue, .write, 0..<4)
        let second = ask(&queue, .read, 0..<4)
        var leaves = queue.leave()
        #expect(leaves && !queue.takesRequests)
        leaves = queue.leave()
        #expect(!leaves, "it does already")
        let heldBack = queue.begin()
        var early = queue.lastFlushIfDue()
        #expect(early == nil)
        _ = queue.answered(first, error: 0)
        early = queue.lastFlushIfDue()
        #expect(early == nil, "a request is without an answer")
        _ = queue.answered(second, error: 0)
        let dueFlush = queue.lastFlushIfDue()
        let flush = try #require(dueFlush)
        let another = queue.lastFlushIfDue()
        #expect(flush.kind == .flush && another == nil && !queue.hasLeft)
        #expect(queue.answered(flush.id, error: 0) == .left)
        queue.disconnected()
        #expect(queue.hasLeft && !queue.takesRequests, "until it is known where it goes")
        queue.move(mayRepeat: true)
        ready(&queue, boot: 2)
        #expect(queue.takesRequests && queue.unanswered == [heldBack])
        queue.disconnected()
        #expect(queue.connected(boot: 3, isCommitted: true).isEmpty, "nothing is kept for the new destination")
    }

    @Test func aQueueThatIsCutWhileItLeavesStays() throws {
        var queue = ForwardQueue(isResumed: false, mayRepeat: true)
        ready(&queue)
        _ = queue.answered(ask(&queue, .write, 0..<4), error: 0)
        let leaves = queue.leave()
        #expect(leaves)
        let dueFlush = queue.lastFlushIfDue()
        let flush = try #require(dueFlush)
        queue.disconnected()
        #expect(!queue.hasLeft)
        #expect(queue.connected(boot: 2, isCommitted: true).map(\.offset) == [0], "it is made again")
        #expect(queue.answered(flush.id, error: 0) == .nothing)
    }

    @Test func aLastFlushThatFailsIsALoss() throws {
        var queue = ForwardQueue(isResumed: false, mayRepeat: true)
        ready(&queue)
        let leaves = queue.leave()
        #expect(leaves)
        let dueLast = queue.lastFlushIfDue()
        let last = try #require(dueLast)
        #expect(queue.answered(last.id, error: ENOSPC) == .stays)
        #expect(queue.losses == 1)
    }

    @Test func whereTheNodeLeftMayNotRepeatNeitherMayTheQueue() throws {
        var queue = ForwardQueue(isResumed: false, mayRepeat: true)
        ready(&queue)
        let leaves = queue.leave()
        #expect(leaves)
        let dueLast = queue.lastFlushIfDue()
        let last = try #require(dueLast)
        _ = queue.answered(last.id, error: 0)
        queue.move(mayRepeat: false)
        ready(&queue)
        _ = queue.answered(ask(&queue, .write, 0..<4), error: 0)
        queue.disconnected()
        ready(&queue, boot: 2)
        #expect(queue.losses == 1)
    }

    /// A node forwards through another to a disk, and at some moment directly; the machine with the disk goes down now and
    /// then. What either node makes again never replaces what was written later.
    @Test func aChainIsShortenedAtAnyMoment() throws {
        var random = Seeded.fresh()
        for _ in 0..<300 {
            var near = ForwardQueue(isResumed: false, mayRepeat: true)
            var middle = ForwardQueue(isResumed: false, mayRepeat: true)
            var boot: UInt64 = 1
            var isDirect = false
            ready(&near)
            ready(&middle, boot: boot)
            var disk = [UInt8](repeating: 0, count: Self.diskBytes)
            var durable = disk
            /// Through the middle, or not; the answer is the one to `request`.
            func arrive(_ request: ForwardRequest) -> ForwardQueue.Outcome {
                if !isDirect {
                    var passed = request
                    passed.id = middle.begin()
                    middle.leaves(passed)
                    perform(passed, on: &disk)
                    if passed.kind == .flush { durable = disk }
                    #expect(middle.answered(passed.id, error: 0) == .ended(id: passed.id, error: 0))
                } else {
                    perform(request, on: &disk)
                    if request.kind == .flush { durable = disk }
                }
                return near.answered(request.id, error: 0)
            }
            func repeats(_ queue: inout ForwardQueue) {
                queue.disconnected()
                for again in queue.connected(boot: boot, isCommitted: true).shuffled(using: &random) {
                    perform(again, on: &disk)
                    _ = queue.answered(again.id, error: 0)
                }
            }
            let moment = Int.random(in: 0..<30, using: &random)
            for step in 0..<40 {
                var sent: [ForwardRequest] = []
                for number in 0..<Int.random(in: 0...3, using: &random) {
                    // Requests that are on their way together touch different bytes.
                    let range = number * 16..<number * 16 + Int.random(in: 1...16, using: &random)
                    let kind: RequestKind = random.chance(15) ? .flush : .write
                    let id = near.begin()
                    let request = request(
                        kind, id, kind == .flush ? 0..<0 : range, .random(in: 1...255, using: &random))
                    near.leaves(request)
                    sent.append(request)
                }
                let leaves = step == moment && near.leave()
                for request in sent.shuffled(using: &random) {
                    #expect(arrive(request) == .ended(id: request.id, error: 0))
                }
                if leaves {
                    let dueLast = near.lastFlushIfDue()
                    let last = try #require(dueLast)
                    #expect(arrive(last) == .left)
                    near.move(mayRepeat: true)
                    near.disconnected()
                    isDirect = true
                    ready(&near, boot: boot)
                }
                guard random.chance(20) else { continue }
                boot += 1
                let expected = disk
                for index in disk.indices where Bool.random(using: &random) { disk[index] = durable[index] }
                // In either order: they are connections of their own.
                let isMiddleFirst = Bool.random(using: &random)
                if isMiddleFirst { repeats(&middle) }
                if isDirect { repeats(&near) }
                if !isMiddleFirst { repeats(&middle) }
                #expect(disk == expected)
                durable = disk
            }
        }
    }

    @Test func whatIsKeptIsBounded() throws {
        var queue = ForwardQueue(isResumed: false, mayRepeat: true, limit: 1000)
        ready(&queue)
        while true {
            _ = queue.answered(ask(&queue, .write, 0..<64), error: 0)
            if let flush = queue.flushIfDue() {
                #expect(!queue.isFull)
                while !queue.isFull { _ = queue.answered(ask(&queue, .write, 0..<64), error: 0) }
                #expect(queue.flushIfDue() == nil, "one at a time")
                #expect(queue.answered(flush.id, error: 0) == .nothing)
                #expect(!queue.isFull)
                return
            }
        }
    }
}
