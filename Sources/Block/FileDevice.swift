import CLinux
import Glibc
import Ring

/// A raw image or block device, through the ring.
///
/// Reads that the page cache can answer end at once; whatever would block goes to the ring.
public final class FileDevice: BlockDevice, @unchecked Sendable {
    private static let zeros = ZeroPage()

    /// The file behind the device.
    public let image: RawImage

    /// Serves `image`.
    public init(image: RawImage) {
        self.image = image
        super.init()
    }

    override func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        request.pointee.operation = RingOperation(handler: self)
        request.pointee.progress = 0
        request.pointee.stage = .transfer
        submit(request, port)
    }

    override func readIfCached(into buffer: UnsafeMutableRawPointer, length: Int, at offset: UInt64) -> Bool {
        linux_pread_flags(image.descriptor, buffer, length, off_t(offset), linux_rwf_nowait) == length
    }

    override public func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        let request = UnsafeMutableRawPointer(operation).assumingMemoryBound(to: BlockRequest.self)
        request.pointee.port._withUnsafeGuaranteedRef { port in
            if advance(request, result) {
                port.ended(request)
            } else {
                submit(request, port)
            }
        }
    }

    private func submit(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        let operation = UnsafeMutableRawPointer(request).assumingMemoryBound(to: RingOperation.self)
        let offset = request.pointee.offset + UInt64(request.pointee.progress)
        let left = Int(request.pointee.length) - request.pointee.progress
        switch (request.pointee.stage, request.pointee.kind) {
        case (.makeDurable, _), (_, .flush):
            port.loop.synchronize(image.descriptor, operation)
        case (.zeroFill, _):
            port.loop.write(
                image.descriptor, from: Self.zeros.bytes, count: min(left, ZeroPage.count), at: offset, flags: 0,
                operation)
        case (.transfer, .read):
            port.loop.read(
                image.descriptor, into: request.pointee.buffer! + request.pointee.progress, count: left, at: offset,
                operation)
        case (.transfer, .write):
            port.loop.write(
                image.descriptor, from: request.pointee.buffer! + request.pointee.progress, count: left, at: offset,
                flags: request.pointee.isForcedUnitAccess ? linux_rwf_dsync : 0, operation)
        case (.transfer, .trim), (.transfer, .writeZeroes):
            let keepsSpace = request.pointee.kind == .writeZeroes && !request.pointee.mayPunchHole
            port.loop.allocate(
                image.descriptor, mode: keepsSpace ? linux_zero_range : linux_punch_hole, at: offset,
                length: UInt64(left), operation)
        }
    }

    /// Takes in a completion; whether the request has ended by it.
    private func advance(_ request: UnsafeMutablePointer<BlockRequest>, _ result: Int32) -> Bool {
        if result == -EINTR || result == -EAGAIN { return false }
        switch (request.pointee.stage, request.pointee.kind) {
        case (.makeDurable, _), (_, .flush):
            request.pointee.error = -result
            return true
        case (.transfer, .trim), (.transfer, .writeZeroes):
            return advanceAllocation(request, result)
        case (.transfer, .read), (.transfer, .write), (.zeroFill, _):
            return advanceTransfer(request, result)
        }
    }

    private func advanceAllocation(_ request: UnsafeMutablePointer<BlockRequest>, _ result: Int32) -> Bool {
        if result == -EOPNOTSUPP {
            // A trim is advice; zeros are a promise.
            if request.pointee.kind == .trim { return true }
            request.pointee.stage = .zeroFill
            return false
        }
        guard result == 0 else { return fail(request, -result) }
        return makeDurableIfForced(request)
    }

    private func advanceTransfer(_ request: UnsafeMutablePointer<BlockRequest>, _ result: Int32) -> Bool {
        guard result >= 0 else { return fail(request, -result) }
        // The image ends before the disk does: somebody truncated it.
        guard result > 0 else { return fail(request, EIO) }
        request.pointee.progress += Int(result)
        guard request.pointee.progress == Int(request.pointee.length) else { return false }
        return request.pointee.stage == .zeroFill ? makeDurableIfForced(request) : true
    }

    private func makeDurableIfForced(_ request: UnsafeMutablePointer<BlockRequest>) -> Bool {
        guard request.pointee.isForcedUnitAccess else { return true }
        request.pointee.stage = .makeDurable
        return false
    }

    private func fail(_ request: UnsafeMutablePointer<BlockRequest>, _ code: CInt) -> Bool {
        request.pointee.error = code
        return true
    }
}
