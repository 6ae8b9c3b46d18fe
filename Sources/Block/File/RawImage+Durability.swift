import Glibc

/// Making an image durable. Once that has failed it fails until the image is opened anew: the kernel may have dropped data
/// that was acknowledged, and a later attempt would succeed without it.
extension RawImage {
    /// Makes everything written so far durable, `fdatasync(2)`. Blocks the thread, also for an attempt that runs already.
    /// - Throws: `FileError`; always, once an attempt by anybody has failed.
    public func synchronize() throws {
        let error = flushGate.perform { [descriptor] in
            while fdatasync(descriptor) != 0 {
                guard errno == EINTR else { return errno }
            }
            return 0
        }
        guard error == 0 else { throw FileError("flush", path, code: error) }
    }

    /// The attempt that failed to make the image durable; nil where none has. Any thread may ask.
    public var flushFailure: FileError? {
        let error = flushGate.error
        return error == 0 ? nil : FileError("flush", path, code: error)
    }

    /// Makes certain that what was acknowledged can still be in the image.
    /// - Throws: `FileError`, the `flushFailure`.
    public func checkIsDurable() throws {
        if let failure = flushFailure { throw failure }
    }

    /// Has `report` called with the failure, once, when an attempt to make the image durable fails, on any thread; at once if
    /// one has. The last report counts, also of other objects that have the same image open (`reopened`).
    public func whenFlushFails(_ report: @escaping @Sendable (FileError) -> Void) {
        flushGate.whenFailed { [currentPath] error in
            report(FileError("flush", currentPath.withLockedValue { $0 }, code: error))
        }
    }
}
