import Ring

@testable import Block

/// One block status, as a session asks for it.
final class StatusCall: RequestOwner, @unchecked Sendable {
    private static let most = 64
    private var continuation: CheckedContinuation<[BlockExtent], Never>?

    /// The extents of the first `length` bytes; none if the status failed.
    static func extents(of disk: Disk, on loop: EventLoop, length: UInt64) async -> [BlockExtent] {
        let call = StatusCall()
        return await withCheckedContinuation { continuation in
            loop.post {
                call.continuation = continuation
                call.begin(disk.port(on: loop), length)
            }
        }
    }

    private func begin(_ port: DiskPort, _ length: UInt64) {
        let request = UnsafeMutablePointer<BlockRequest>.allocate(capacity: 1)
        request.initialize(to: BlockRequest(owner: self, port: port))
        request.pointee.kind = .status
        request.pointee.length = length
        request.pointee.extentLimit = Self.most
        request.pointee.buffer = .allocate(byteCount: Self.most * MemoryLayout<BlockExtent>.stride, alignment: 16)
        port.submit(request)
    }

    override func finished(_ request: UnsafeMutablePointer<BlockRequest>) {
        let extents = UnsafeBufferPointer(
            start: request.pointee.buffer!.assumingMemoryBound(to: BlockExtent.self),
            count: request.pointee.error == 0 ? request.pointee.extentCount : 0)
        continuation?.resume(returning: Array(extents))
        request.pointee.buffer!.deallocate()
        request.deallocate()
    }
}
