/// A request that something outside its loop works on, and the way back to that loop.
///
/// `@unchecked Sendable`: until `finish` the request is the worker's alone; what `finish` does, it does on the loop.
struct PendingRequest: @unchecked Sendable {
    let request: UnsafeMutablePointer<BlockRequest>
    let port: DiskPort

    /// To be called once, from any thread, with 0 or an `errno`.
    func finish(error: CInt) {
        port.loop.post {
            request.pointee.error = error
            port.ended(request)
        }
    }
}
