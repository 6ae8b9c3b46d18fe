import Rados

/// The records of a site's disks, as a claim needs them. Calls block the thread.
protocol DiskRecords: Sendable {
    /// The record of a disk; nil if there is none.
    func record(of image: String) throws -> DiskRecord?

    /// The record that an image has under another name; nil if there is none.
    /// - Parameter identity: The image's own name in its pool.
    func record(ofRenamed image: String, identity: String) throws -> DiskRecord?

    /// Writes the first record of a disk, or the next one.
    /// - Parameter old: The record as it was seen; nil for none.
    /// - Returns: The record with its generation; nil if the store has another record.
    /// - Throws: An error after which the record may have been written, now or later.
    func write(_ record: DiskRecord, after old: DiskRecord?) throws -> DiskRecord?

    /// Watches the records of a host for as long as a host that lives may be silent.
    /// - Parameter instance: Number of the process whose records say nothing; 0 for none.
    /// - Throws: `DiskError.ownerIsAlive` if its node shows that it lives, or the store's error.
    func checkIsGone(_ host: String, except instance: UInt64) throws
}

/// Those who use the image of a disk. Calls block the thread.
protocol DiskUsers: Sendable {
    func use() throws -> RBDImage.Use
    /// Sees that clients never write again.
    func fence(_ addresses: [String]) throws
}

extension RBDImage: DiskUsers {}

extension DiskRecords {
    /// Keeps out the clients that a record names, and notes that there are none.
    ///
    /// Only those: whoever has opened the image since may be a later owner's, and finds in the record that it may not otherwise.
    /// - Returns: The new record.
    /// - Throws: `DiskError.lost` if another host's record is there; the store's error.
    func fence(_ record: DiskRecord, of users: any DiskUsers) throws -> DiskRecord {
        guard !record.clients.isEmpty else { return record }
        try users.fence(record.clients)
        var next = record
        (next.clients, next.fenced) = ([], record.clients)
        if let written = try write(next, after: record) { return written }
        // The new owner's node has fenced them as well.
        guard let current = try self.record(of: record.image), current.host == record.host else {
            throw DiskError.lost(image: record.image)
        }
        return current
    }
}
