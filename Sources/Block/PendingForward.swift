/// Brings the answer of another node back to the loop that asked.
///
/// `@unchecked Sendable`: the request is touched only on its port's loop.
struct PendingForward: @unchecked Sendable {
    let request: UnsafeMutablePointer<BlockRequest>
    let port: DiskPort

    func finish(error: CInt) {
        port.loop.post {
            request.pointee.error = error
            port.ended(request)
        }
    }
}
