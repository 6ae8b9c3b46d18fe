/// Decides whether a daemon that has opened a disk may be used. Calls come one after the other, on threads that may block.
public protocol StorageAdmission: AnyObject, Sendable {
    /// Called after a daemon has opened the disk, and before any request reaches it.
    /// - Throws: An error in one line: the daemon is ended. If the error is not final, another one is started.
    func admit() throws

    /// Whether the disk may never be used again after an error of `admit`.
    func isFinal(_ error: any Error) -> Bool

    /// Called when no daemon will use the disk any more.
    /// - Parameter isClean: Whether the last one has ended by itself, with nothing left to write.
    func ended(isClean: Bool)
}
