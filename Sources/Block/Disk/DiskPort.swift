import CLinux
import BlockModel
import Ring

/// One loop's access to a disk: its device, its dirty maps and the loop's requests in flight.
///
/// Only the loop's thread uses a port, so it needs no lock. `Disk` changes all ports of a disk together, which makes a
/// fence: when every loop holds requests back and has none in flight, nobody writes.
public final class DiskPort: @unchecked Sendable {
    /// The loop whose thread uses this port.
    public let loop: EventLoop

    private var device: BlockDevice {
        didSet { fastDevice = .passUnretained(device) }
    }
    private var reads: ReadCounts {
        didSet { fastReads = .passUnretained(reads) }
    }
    /// `device` and `reads` for calls that cost no reference count.
    private var fastDevice: Unmanaged<BlockDevice>
    private var fastReads: Unmanaged<ReadCounts>
    private var dirtyMap: DirtyMap?
    /// The maps of `follow`, and below the same maps unretained, so that a request costs no reference counting.
    private var followers: [DirtyMap] = []
    private var followed: [Unmanaged<DirtyMap>] = []
    private var isFenced = false
    private var pace = WritePace()
    private var inFlight = 0
    private let trims: TrimCount
    private var heldBack: [UnsafeMutablePointer<BlockRequest>] = []
    private var whenQuiet: (() -> Void)?

    init(loop: EventLoop, device: BlockDevice, reads: ReadCounts, trims: TrimCount) {
        self.loop = loop
        self.device = device
        self.reads = reads
        fastDevice = .passUnretained(device)
        fastReads = .passUnretained(reads)
        self.trims = trims
    }

    /// Starts a request, or holds it back while the disk is fenced. Its owner is called when it has ended.
    public func submit(_ request: UnsafeMutablePointer<BlockRequest>) {
        request.pointee.resetResult()
        guard !isFenced else { return heldBack.append(request) }
        inFlight += 1
        if request.pointee.kind == .read {
            reads.note(offset: request.pointee.offset, length: request.pointee.length)
        }
        device.start(request, on: self)
    }

    /// Starts a request of whoever has fenced the disk. It ends before the fence does.
    func submitBehindFence(_ request: UnsafeMutablePointer<BlockRequest>) {
        precondition(isFenced && whenQuiet == nil, "only while the disk is fenced, and nothing else is in flight")
        request.pointee.resetResult()
        inFlight += 1
        device.start(request, on: self)
    }

    /// Reads the bytes that the device has without waiting; nothing while the disk is fenced.
    /// - Parameter length: bytes, more than 0.
    /// - Returns: bytes read; if they are fewer than `length`, the caller submits a request.
    public func readIfCached(into buffer: UnsafeMutableRawPointer, length: Int, at offset: UInt64) -> Int {
        guard !isFenced else { return 0 }
        assert(fastDevice.toOpaque() == Unmanaged.passUnretained(device).toOpaque())
        let count = fastDevice._withUnsafeGuaranteedRef { $0.readIfCached(into: buffer, length: length, at: offset) }
        // A read that is not complete is counted when it is submitted.
        if count == length { fastReads._withUnsafeGuaranteedRef { $0.note(offset: offset, length: UInt64(length)) } }
        return count
    }

    /// Writes at once if the device usually does so fast and the disk is not fenced.
    /// - Parameter length: bytes, more than 0.
    /// - Returns: 0 or an `errno` if the write has ended; nil if the caller must submit a request.
    public func writeAtOnce(from buffer: UnsafeRawPointer, length: Int, at offset: UInt64) -> CInt? {
        guard !isFenced else { return nil }
        let began = WritePace.now()
        guard pace.allows(at: began) else { return nil }
        let waits = pace.isWatching(at: began) ? linux_thread_waits() : nil
        guard
            let error = fastDevice._withUnsafeGuaranteedRef({
                $0.writeAtOnce(from: buffer, length: length, at: offset)
            })
        else { return nil }
        pace.record(from: began, to: WritePace.now(), waitsBefore: waits) { linux_thread_waits() }
        // Invariant 1: the write has ended, and its reply follows.
        mark(offset: offset, length: UInt64(length))
        return error
    }

    /// Ends a request for its device: marks its changes, and calls its owner.
    func ended(_ request: UnsafeMutablePointer<BlockRequest>) {
        // Invariant 1: blocks are marked after the write has reached the backing and before the owner is called. A failed
        // write is marked, too, since it may have changed some of its blocks.
        if request.pointee.kind.isChange { mark(offset: request.pointee.offset, length: request.pointee.length) }
        if request.pointee.kind == .trim, request.pointee.error == 0 { trims.add(request.pointee.length) }
        inFlight -= 1
        request.pointee.owner._withUnsafeGuaranteedRef { $0.finished(request) }
        reportIfQuiet()
    }

    func count(in reads: ReadCounts) {
        self.reads = reads
    }

    func track(_ map: DirtyMap?) {
        dirtyMap = map
    }

    func follow(_ map: DirtyMap) {
        unfollow(map)
        followers.append(map)
        followed = followers.map { .passUnretained($0) }
    }

    func unfollow(_ map: DirtyMap) {
        followers.removeAll { $0 === map }
        followed = followers.map { .passUnretained($0) }
    }

    func fence(whenQuiet: @escaping () -> Void) {
        precondition(!isFenced, "the disk is fenced already")
        isFenced = true
        self.whenQuiet = whenQuiet
        reportIfQuiet()
    }

    func replaceDevice(_ device: BlockDevice) {
        precondition(isFenced && inFlight == 0, "only a fenced disk without requests in flight can get another device")
        self.device = device
    }

    func switchDevice(_ device: BlockDevice) {
        assert(loop.isCurrent, "the loop may be about to call the old device, which this releases")
        self.device = device
    }

    func unfence() {
        precondition(isFenced)
        isFenced = false
        let requests = heldBack
        heldBack = []
        for request in requests { submit(request) }
    }

    /// Marks a range in every map.
    private func mark(offset: UInt64, length: UInt64) {
        if let dirtyMap { dirtyMap.mark(offset: offset, length: length) }
        for map in followed { map._withUnsafeGuaranteedRef { $0.mark(offset: offset, length: length) } }
    }

    private func reportIfQuiet() {
        guard isFenced, inFlight == 0, let report = whenQuiet else { return }
        whenQuiet = nil
        report()
    }
}
