import CLinux
import Dispatch
import Glibc
import Ring

/// A raw image or block device, served through the ring.
///
/// Reads from the page cache end at once. Requests that would block go to the ring, and those for which the ring has
/// no operation go to a thread of the device.
public final class FileDevice: BlockDevice, @unchecked Sendable {
    private static let pageMask: UInt64 = 4095
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
            startDirect(request, port, by: direct)
        } else {
            begin(request, port)
        }
    }

    private func begin(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        switch request.pointee.kind {
        case .status:
            statuses.add(PendingRequest(request: request, port: port))
        case .trim where image.isBlockDevice:
            discard(request, port)
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

    private func startDirect(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort, by direct: DirectAccess) {
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

    func end(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        if let direct = image.direct, let claim = direct.claim(of: request) { direct.claims.give(claim) }
        port.ended(request)
    }

    private func discard(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort) {
        let pending = PendingRequest(request: request, port: port)
        worker.async { [self, image] in
            let error = Self.discard(pending.request, on: image)
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

    /// Discards a range; on the device's thread.
    /// - Returns: 0 or an `errno`.
    private static func discard(_ request: UnsafeMutablePointer<BlockRequest>, on image: RawImage) -> CInt {
        FileError.outcome {
            try image.discard(at: request.pointee.offset, length: request.pointee.length)
            if request.pointee.isForcedUnitAccess { try image.synchronize() }
        }
    }
}
