import CLinux
import Glibc
import Ring

/// The ring operations of a request, one after the other. All on the thread of its port's loop.
extension FileDevice {
    private static let zeros = ZeroPage()
    /// Bytes of a read from which on the kernel's read-ahead gains more than a worker thread costs.
    private static let readByWorker = 64 << 10

    /// Submits the next operation of a request.
    func submit(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        let operation = UnsafeMutableRawPointer(request).assumingMemoryBound(to: RingOperation.self)
        let offset = request.pointee.offset + UInt64(request.pointee.progress)
        let left = Int(request.pointee.length) - request.pointee.progress
        switch (request.pointee.stage, request.pointee.kind) {
        case (.makeDurable, _), (_, .flush):
            makeDurable(request, port)
        case (.zeroFill, _):
            port.loop.write(
                request.pointee.descriptor, from: Self.zeros.bytes, count: min(left, ZeroPage.count), at: offset,
                flags: 0, operation)
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
            preconditionFailure("block statuses go to StatusLookup")
        }
    }

    /// Records a completion.
    /// - Returns: whether the request has ended.
    func advance(_ request: UnsafeMutablePointer<BlockRequest>, _ result: Int32) -> Bool {
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
            ? .run : image.flushGate.begin { turn in port.loop.post { self.continueFlush(turn, pending) } }
        switch turn {
        case .run: synchronize(pending)
        case .ended(let error): port.loop.post { self.continueFlush(.ended(error), pending) }
        case nil: break
        }
    }

    private func continueFlush(_ turn: FlushGate.Turn, _ pending: PendingRequest) {
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
}
