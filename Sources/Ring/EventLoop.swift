import CLiburing
import CLinux
import Glibc
import NIOConcurrencyHelpers

/// One thread with one io_uring: it submits the operations of its handlers and hands them the completions.
///
/// 1. `init` starts the thread and waits until its ring exists.
/// 2. Handlers run on that thread only and call the operations in `Submission.swift`.
/// 3. Other threads use `post` or `perform`.
/// 4. `stop` ends the thread after the work that was posted before it.
///
/// Sendable because other threads touch only `inbox` and `wakeDescriptor`.
public final class EventLoop: @unchecked Sendable {
    /// Work to do on the loop's thread.
    public typealias Work = @Sendable () -> Void

    private static let entries: UInt32 = 512

    /// Position in the order of creation within a node, from 0.
    public let index: Int

    let ring: UnsafeMutablePointer<io_uring>
    private let wakeDescriptor: CInt
    private let inbox = NIOLockedValueBox<[Work]>([])
    private let waker: Waker
    private var thread = pthread_t()
    private var isStopping = false
    private var batchEnd: [Unmanaged<RingHandler>] = []
    private var nextTurn: [Unmanaged<RingHandler>] = []
    /// The part of the time for which the loop's thread has run lately.
    public let load = LoopLoad()
    private var reviewer: Work?
    private var takesShortTurns = false
    /// The buffers of `receiveSelected`.
    public let receiveBuffers: ReceiveBuffers

    /// Starts the thread and waits until its ring exists.
    /// - Throws: `RingError` if the kernel gives no ring.
    public init(index: Int) throws {
        self.index = index
        ring = .allocate(capacity: 1)
        ring.initialize(to: io_uring())
        wakeDescriptor = eventfd(0, CInt(EFD_CLOEXEC))
        guard wakeDescriptor >= 0 else { throw RingError(code: errno) }
        waker = Waker(descriptor: wakeDescriptor)
        receiveBuffers = try ReceiveBuffers()
        let started = StartSignal()
        try start(reporting: started)
        let code = started.wait()
        guard code == 0 else {
            pthread_join(thread, nil)
            throw RingError(code: code)
        }
    }

    deinit {
        ring.deallocate()
        close(wakeDescriptor)
    }

    /// Whether the caller is on this loop's thread.
    public var isCurrent: Bool { pthread_equal(pthread_self(), thread) != 0 }

    /// Runs `work` on the loop's thread, after all work that was posted before. Any thread may call.
    public func post(_ work: @escaping Work) {
        let wasEmpty = inbox.withLockedValue { queue in
            queue.append(work)
            return queue.count == 1
        }
        if wasEmpty { waker.wake() }
    }

    /// Runs `body` on the loop's thread and returns its result.
    public func perform<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            post { continuation.resume(returning: body()) }
        }
    }

    /// Calls `batchEnded` of `handler` once, after the completions at hand are handled: the moment to send replies
    /// together.
    public func atBatchEnd(_ handler: RingHandler) {
        batchEnd.append(Unmanaged.passUnretained(handler))
    }

    /// Calls `turnCame` of `handler` once, after the other handlers have run: for work that would keep them waiting.
    public func atNextTurn(_ handler: RingHandler) {
        nextTurn.append(Unmanaged.passUnretained(handler))
    }

    /// Calls `body` on the loop's thread after each new figure in `load`, while the loop has work. Any thread may call, once.
    public func whenReviewed(_ body: @escaping Work) {
        post { [unowned self] in reviewer = body }
    }

    /// Asks the scheduler for short slices, with which the thread interrupts others sooner, or for the usual ones. For short
    /// requests of clients that wait for each, sooner is better; clients that send several had better go on sending. Only on
    /// the loop's thread.
    public func setTurns(short: Bool) {
        guard short != takesShortTurns else { return }
        takesShortTurns = short
        if short { linux_take_short_turns() } else { linux_take_usual_turns() }
    }

    /// Ends the loop and waits for its thread. No operation may be in flight any more.
    public func stop() {
        post { [unowned self] in isStopping = true }
        pthread_join(thread, nil)
    }

    @inline(__always)
    func submit(
        _ operation: UnsafeMutablePointer<RingOperation>, _ prepare: (UnsafeMutablePointer<io_uring_sqe>) -> Void
    ) {
        let entry = nextEntry()
        prepare(entry)
        io_uring_sqe_set_data(entry, operation)
    }

    func submitUnobserved(_ prepare: (UnsafeMutablePointer<io_uring_sqe>) -> Void) {
        let entry = nextEntry()
        prepare(entry)
        io_uring_sqe_set_data(entry, nil)
    }

    private func nextEntry() -> UnsafeMutablePointer<io_uring_sqe> {
        while true {
            if let entry = io_uring_get_sqe(ring) { return entry }
            // The queue is full; submitting its entries makes room.
            io_uring_submit(ring)
        }
    }

    private func start(reporting started: StartSignal) throws {
        let main = Unmanaged.passRetained(ThreadMain { [unowned self] in run(reporting: started) })
        let code = pthread_create(
            &thread, nil,
            { context in
                Unmanaged<ThreadMain>.fromOpaque(context!).takeRetainedValue().body()
                return nil
            }, main.toOpaque())
        guard code == 0 else {
            main.release()
            throw RingError(code: code)
        }
    }

    private func run(reporting started: StartSignal) {
        let code = setUpRing()
        started.signal(code)
        guard code == 0 else { return }
        // Each request is little work, and a client waits for it.
        setTurns(short: true)
        waker.arm(on: self)
        while !isStopping || inbox.withLockedValue({ !$0.isEmpty }) {
            if nextTurn.isEmpty { sleep() } else { io_uring_submit_and_get_events(ring) }
            handleCompletions()
            runInbox()
            runTurns()
            endBatch()
            if load.count() { reviewer?() }
        }
        io_uring_queue_exit(ring)
    }

    private func sleep() {
        load.willSleep()
        io_uring_submit_and_wait(ring, 1)
        load.didWake()
    }

    /// Returns 0 or an `errno`.
    private func setUpRing() -> CInt {
        let flags = UInt32(IORING_SETUP_SINGLE_ISSUER) | UInt32(IORING_SETUP_DEFER_TASKRUN)
        let result = io_uring_queue_init(Self.entries, ring, flags)
        guard result == 0 else { return -result }
        let code = receiveBuffers.register(with: ring)
        if code != 0 { io_uring_queue_exit(ring) }
        return code
    }

    private func handleCompletions() {
        var entry: UnsafeMutablePointer<io_uring_cqe>?
        while io_uring_peek_cqe(ring, &entry) == 0, let completion = entry {
            let context = io_uring_cqe_get_data(completion)
            let result = completion.pointee.res
            let flags = completion.pointee.flags
            io_uring_cqe_seen(ring, completion)
            guard let context else { continue }
            let operation = context.assumingMemoryBound(to: RingOperation.self)
            operation.pointee.selectedBuffer =
                flags & UInt32(IORING_CQE_F_BUFFER) == 0 ? -1 : Int(flags >> UInt32(IORING_CQE_BUFFER_SHIFT))
            operation.pointee.handler._withUnsafeGuaranteedRef { $0.completed(operation, result: result) }
        }
    }

    private func runInbox() {
        guard waker.consumeSignal() else { return }
        let work = inbox.withLockedValue { queue in
            defer { queue = [] }
            return queue
        }
        for item in work { item() }
        waker.arm(on: self)
    }

    private func runTurns() {
        guard !nextTurn.isEmpty else { return }
        // A handler that asks again during its turn is called in the next one.
        let count = nextTurn.count
        for index in 0..<count { nextTurn[index]._withUnsafeGuaranteedRef { $0.turnCame() } }
        nextTurn.removeFirst(count)
    }

    private func endBatch() {
        // Handlers may ask for the end of this batch while it is being ended.
        var next = 0
        while next < batchEnd.count {
            batchEnd[next]._withUnsafeGuaranteedRef { $0.batchEnded() }
            next += 1
        }
        batchEnd.removeAll(keepingCapacity: true)
    }
}
