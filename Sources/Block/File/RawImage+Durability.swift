import Glibc

/// Making an image durable. After a failure, every attempt fails until the image is opened anew. The kernel may have
/// dropped acknowledged data, and a later attempt would succeed without it.
extension RawImage {
    /// Makes everything written so far durable: `fdatasync(2)`. Blocks the thread, also for an attempt that already
    /// runs.
    /// - Throws: `FileError`; always, once any attempt has failed.
    public func synchronize() throws {
        let error = flushGate.perform { [descriptor] in
            while fdatasync(descriptor) != 0 {
                guard errno == EINTR else { return errno }
            }
            return 0
        }
        guard error == 0 else { throw FileError("flush", path, code: error) }
    }

    /// The failure of an attempt to make the image durable; nil if none has failed. Any thread may ask.
    public var flushFailure: FileError? {
        let error = flushGate.error
        return error == 0 ? nil : FileError("flush", path, code: error)
    }

    /// Does nothing: the kernel does not tell which data it has dropped.
    public func forgetLosses() {}

    /// Does nothing: a file or device loses nothing while it is open.
    public func refuseAfterLosses(_ isOn: Bool) {}

    /// Calls `report` once, on any thread, when an attempt to make the image durable fails; immediately if one has
    /// failed. Only the last `report` is kept, for all objects that share the image (`reopened`).
    public func whenFlushFails(_ report: @escaping @Sendable (FileError) -> Void) {
        flushGate.whenFailed { [currentPath] error in
            report(FileError("flush", currentPath.withLockedValue { $0 }, code: error))
        }
    }
}
