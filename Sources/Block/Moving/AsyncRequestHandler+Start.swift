import Glibc

extension AsyncRequestHandler {
    /// Starts a request of a disk, on the thread of `port`'s loop. Advice, block statuses and fast zeros are answered here;
    /// the handler gets all other requests.
    func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        let pending = PendingRequest(request: request, port: port)
        switch request.pointee.kind {
        case .cache:
            return pending.finish(error: 0)
        case .status:
            // The handler is not asked for the state of its blocks; data is always a right answer.
            request.pointee.addAllData()
            return pending.finish(error: 0)
        case .writeZeroes where request.pointee.mustBeFast:
            return pending.finish(error: ENOTSUP)
        case .read, .write, .flush, .trim, .writeZeroes:
            break
        }
        let hasBuffer = request.pointee.kind.carriesData
        handle(
            AsyncRequest(
                kind: request.pointee.kind,
                isForcedUnitAccess: request.pointee.isForcedUnitAccess,
                mayPunchHole: request.pointee.mayPunchHole,
                offset: request.pointee.offset,
                length: request.pointee.length,
                buffer: UnsafeMutableRawBufferPointer(
                    start: request.pointee.buffer, count: hasBuffer ? Int(request.pointee.length) : 0),
                finish: { pending.finish(error: $0) }))
    }
}
