/// The records of a node's state directory about a disk that is not open yet. Calls block the thread.
package protocol OwnDiskRecords: Sendable {
    /// The file that says that the disk has moved away; nil if none does.
    func departure() throws -> String?
    /// The file that says that blocks of the disk are missing; nil if none does.
    func gap() throws -> String?
    /// Removes requests to move the disk: no later start goes on with them.
    func dropRequests() throws
}
