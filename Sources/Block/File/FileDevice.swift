import CLinux
import Dispatch
import Glibc
import Ring

/// A raw image or block device, served through the ring.
///
/// Reads from the page cache end at once. Requests that would block go to the ring, and those for which the ring has
/// no operation go to a thread of the device.
public final class FileDevice: BlockDevice, @unchecked Sendable {
    private static let zeros = ZeroPage()
    private static let pageMask: UInt64 = 4095
    /// Bytes of a read from which on the kernel's read-ahead gains more than a worker thread costs.
    private static let readByWorker = 64 << 10
    /// Bytes of the longest write that may delay a loop's other clients.
    private static let atOnce = 1 << 20

    /// The image that the device serves.
    public let image: RawImage
    let worker = DispatchQueue(label: "nearblock.file")
    let statuses: StatusLookup

    /// Creates a device on `image`.
    public convenience init(image: RawImage) {
        self.init(image: image, statuses: StatusLookup(image: image))
    }

    init(image: RawImage, statuses: StatusLookup) {
        self.image = image
        self.statuses = statuses
        super.init()
    }

    override func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        request.pointee.operation = RingOperation(handler: self)
        request.pointee.progress = request.pointee.readAlready
        request.pointee.stage = .transfer
        request.pointee.descriptor = image.descriptor
        guard image.reaches(request.pointee.offset, request.pointee.length) else { return lookAgain(request, port) }
        startInside(request, port)
    }

    private func startInside(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        if let direct = image.direct {
            startDirect(request, port, direct)
        } else {
            begin(request, port)
        }
    }

    private func begin(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        switch request.pointee.kind {
        case .status:
            statuses.add(PendingRequest(request: request, port: port))
        case .trim where image.isBlockDevice:
            later(request, port)
        case .writeZeroes where image.isBlockDevice && request.pointee.mustBeFast && !request.pointee.mayPunchHole:
            // The kernel writes zeros itself where the device can't make them without a hole, and does not tell.
            refuse(request, port)
        default:
            submit(request, port)
        }
    }

    private func refuse(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        let pending = PendingRequest(request: request, port: port)
        port.loop.post { [self] in
            pending.request.pointee.error = ENOTSUP
            end(pending.request, pending.port)
        }
    }

    /// Checks the size again: the file ended before the request does when it was last examined, and may have grown
    /// back.
    private func lookAgain(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        let pending = PendingRequest(request: request, port: port)
        worker.async { [self] in
            image.lookAtEnd()
            let isInside = image.reaches(pending.request.pointee.offset, pending.request.pointee.length)
            pending.port.loop.post { [self] in
                if isInside { return startInside(pending.request, pending.port) }
                pending.request.pointee.error = EIO
                pending.port.ended(pending.request)
            }
        }
    }

    /// Fails a read at the end of a file that was truncated. The new end is recorded first, so that later writes
    /// behind it fail, too.
    private func endBeyondFile(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        let pending = PendingRequest(request: request, port: port)
        worker.async { [self] in
            image.lookAtEnd()
            pending.port.loop.post { [self] in
                pending.request.pointee.error = EIO
                end(pending.request, pending.port)
            }
        }
    }

    private func startDirect(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort, _ direct: DirectAccess) {
        if direct.suits(request) { request.pointee.descriptor = direct.descriptor }
        let pending = PendingRequest(request: request, port: port)
        if let claim = direct.claim(of: request) {
            let isTaken = direct.claims.take(claim) { [self] in
                pending.port.loop.post { [self] in begin(pending.request, pending.port) }
            }
            guard isTaken else { return }
        }
        begin(request, port)
    }

    private func end(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        if let direct = image.direct, let claim = direct.claim(of: request) { direct.claims.give(claim) }
        port.ended(request)
    }

    private func later(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        let pending = PendingRequest(request: request, port: port)
        worker.async { [self, image] in
            let error = Self.perform(pending.request, on: image)
            pending.port.loop.post { [self] in
                pending.request.pointee.error = error
                end(pending.request, pending.port)
            }
        }
    }

    override func readIfCached(into buffer: UnsafeMutableRawPointer, length: Int, at offset: UInt64) -> Int {
        guard image.direct == nil else { return 0 }
        return max(0, linux_pread_flags(image.descriptor, buffer, length, off_t(offset), linux_rwf_nowait))
    }

    /// Only whole pages are written here: others would first be read.
    override func writeAtOnce(from buffer: UnsafeRawPointer, length: Int, at offset: UInt64) -> CInt? {
        guard image.direct == nil, (offset | UInt64(length)) & Self.pageMask == 0, length <= Self.atOnce,
            image.reaches(offset, UInt64(length))
        else { return nil }
        let written = linux_pwrite(image.descriptor, buffer, length, off_t(offset))
        guard written < 0 else { return written == length ? 0 : nil }
        return errno == EINTR ? nil : errno
    }

    override public func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        let request = UnsafeMutableRawPointer(operation).assumingMemoryBound(to: BlockRequest.self)
        request.pointee.port._withUnsafeGuaranteedRef { port in
            if result == 0, request.pointee.kind == .read {
                endBeyondFile(request, port)
            } else if advance(request, result) {
                end(request, port)
            } else {
                submit(request, port)
            }
        }
    }

    // MARK: On the ring

    private func submit(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        let operation = UnsafeMutableRawPointer(request).assumingMemoryBound(to: RingOperation.self)
        let offset = request.pointee.offset + UInt64(request.pointee.progress)
        let left = Int(request.pointee.length) - request.pointee.progress
        switch (request.pointee.stage, request.pointee.kind) {
        case (.makeDurable, _), (_, .flush):
            makeDurable(request, port)
        case (.zeroFill, _):
            port.loop.write(
                request.pointee.descriptor, from: Self.zeros.bytes, count: min(left, ZeroPage.count), at: offset,
                flags: 0,
                operation)
        case (.transfer, .read):
            port.loop.read(
                request.pointee.descriptor, into: request.pointee.buffer! + request.pointee.progress, count: left,
                at: offset, byWorker: left >= Self.readByWorker && image.direct == nil, operation)
        case (.transfer, .write):
            port.loop.write(
                request.pointee.descriptor, from: request.pointee.buffer! + request.pointee.progress, count: left,
                at: offset, flags: isWrittenThrough(request) ? linux_rwf_dsync : 0, operation)
        case (.transfer, .cache):
            // Advice beyond the field's range would fill any memory anyway.
            let count = UInt32(clamping: left)
            port.loop.readAhead(request.pointee.descriptor, at: offset, length: count, operation)
        case (.zeroRange, _), (.transfer, .trim), (.transfer, .writeZeroes):
            let keepsSpace = request.pointee.kind == .writeZeroes && !request.pointee.mayPunchHole
            let mode = keepsSpace || request.pointee.stage == .zeroRange ? linux_zero_range : linux_punch_hole
            port.loop.allocate(request.pointee.descriptor, mode: mode, at: offset, length: UInt64(left), operation)
        case (.transfer, .status):
            preconditionFailure("StatusLookup looks for holes")
        }
    }

    /// Records a completion.
    /// - Returns: whether the request has ended.
    private func advance(_ request: UnsafeMutablePointer<BlockRequest>, _ result: Int32) -> Bool {
        if result == -EINTR || result == -EAGAIN { return false }
        switch (request.pointee.stage, request.pointee.kind) {
        case (.makeDurable, _), (_, .flush):
            request.pointee.holdsFlushGate = false
            image.flushGate.end(-result)
            if request.pointee.error == 0 { request.pointee.error = -result }
            return true
        case (_, .cache):
            // A cache request is advice, so its failure is none.
            return true
        case (.transfer, .trim), (.transfer, .writeZeroes), (.zeroRange, _):
            return advanceAllocation(request, result)
        case (.transfer, .read), (.transfer, .write), (.zeroFill, _), (_, .status):
            return advanceTransfer(request, result)
        }
    }

    private func advanceAllocation(_ request: UnsafeMutablePointer<BlockRequest>, _ result: Int32) -> Bool {
        // A block device returns EINVAL if no sectors fit the range.
        if result == -EOPNOTSUPP || (result == -EINVAL && image.isBlockDevice) {
            // A trim is advice; zeros are a promise.
            if request.pointee.kind == .trim { return true }
            if request.pointee.mustBeFast { return fail(request, ENOTSUP) }
            let triedAll = request.pointee.stage == .zeroRange || !request.pointee.mayPunchHole
            request.pointee.stage = triedAll ? .zeroFill : .zeroRange
            return false
        }
        guard result == 0 else { return fail(request, -result) }
        return makeDurableIfForced(request)
    }

    private func advanceTransfer(_ request: UnsafeMutablePointer<BlockRequest>, _ result: Int32) -> Bool {
        // A transfer ends early if the image was truncated.
        guard result > 0 else {
            request.pointee.error = result < 0 ? -result : EIO
            // The write or its flush may have failed; a flush of the image tells which.
            return isWrittenThrough(request) ? makeDurableIfForced(request) : true
        }
        request.pointee.progress += Int(result)
        guard request.pointee.progress == Int(request.pointee.length) else { return false }
        guard request.pointee.kind != .read else { return true }
        return isWrittenThrough(request) && image.flushGate.error == 0 ? true : makeDurableIfForced(request)
    }

    /// Whether the kernel makes each piece of a write durable before it completes. This is used only past the page
    /// cache. A forced write in the cache could consume another write's write-back error, which the next flush would
    /// miss (`FlushGate`).
    private func isWrittenThrough(_ request: UnsafeMutablePointer<BlockRequest>) -> Bool {
        request.pointee.kind == .write && request.pointee.isForcedUnitAccess
            && request.pointee.descriptor != image.descriptor
    }

    private func makeDurableIfForced(_ request: UnsafeMutablePointer<BlockRequest>) -> Bool {
        guard request.pointee.isForcedUnitAccess else { return true }
        request.pointee.stage = .makeDurable
        return false
    }

    /// Starts `fdatasync(2)` of the image, or waits for one that covers the request.
    private func makeDurable(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        let pending = PendingRequest(request: request, port: port)
        // A flush that was interrupted still holds the gate.
        let turn =
            request.pointee.holdsFlushGate
            ? .run : image.flushGate.begin { turn in port.loop.post { self.take(turn, pending) } }
        switch turn {
        case .run: synchronize(pending)
        case .ended(let error): port.loop.post { self.take(.ended(error), pending) }
        case nil: break
        }
    }

    private func take(_ turn: FlushGate.Turn, _ pending: PendingRequest) {
        guard case .ended(let error) = turn else { return synchronize(pending) }
        if pending.request.pointee.error == 0 { pending.request.pointee.error = error }
        end(pending.request, pending.port)
    }

    private func synchronize(_ pending: PendingRequest) {
        pending.request.pointee.holdsFlushGate = true
        pending.port.loop.synchronize(
            image.descriptor, UnsafeMutableRawPointer(pending.request).assumingMemoryBound(to: RingOperation.self))
    }

    private func fail(_ request: UnsafeMutablePointer<BlockRequest>, _ code: CInt) -> Bool {
        request.pointee.error = code
        return true
    }

    // MARK: Off the ring

    /// Discards a range; on the device's thread.
    /// - Returns: 0 or an `errno`.
    private static func perform(_ request: UnsafeMutablePointer<BlockRequest>, on image: RawImage) -> CInt {
        FileError.outcome {
            try image.discard(at: request.pointee.offset, length: request.pointee.length)
            if request.pointee.isForcedUnitAccess { try image.synchronize() }
        }
    }
}
