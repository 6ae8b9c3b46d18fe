/// Another process that serves a disk to this one, and that this one has started.
public protocol DiskServer: AnyObject, Sendable {
    /// Calls `body` each time the server has ended, before its successor is started; on any thread.
    func whenEnded(_ body: @escaping @Sendable () -> Void)
}
