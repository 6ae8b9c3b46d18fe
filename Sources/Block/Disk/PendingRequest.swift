/// A request in the hands of another thread, with the way back to its loop.
///
/// `@unchecked Sendable`: until `finish`, only the worker uses the request; `finish` itself continues on the loop.
struct PendingRequest: @unchecked Sendable {
    let request: UnsafeMutablePointer<BlockRequest>
    let port: DiskPort

    /// Ends the request with 0 or an `errno`. Any thread may call, once.
    func finish(error: CInt) {
        port.loop.post {
            request.pointee.error = error
            port.ended(request)
        }
    }
}
