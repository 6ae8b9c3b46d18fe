/// A request for bytes of an image that another host of the site has in its index.
public struct NeighbourRead: Sendable, Equatable {
    /// Bytes of the name of a table.
    package static let tableLength = 16
    /// The most bytes of one request.
    package static let maximumLength = 1 << 20

    /// Chosen by the caller; the answer repeats it.
    package var id: UInt32
    /// The 16 bytes that name the image's table.
    package var table: [UInt8]
    /// In the image, in bytes.
    package var offset: UInt64
    /// 1 to `maximumLength`.
    package var length: UInt32

    package init(id: UInt32, table: [UInt8], offset: UInt64, length: UInt32) {
        precondition(table.count == Self.tableLength && (1...Self.maximumLength).contains(Int(length)))
        self.id = id
        self.table = table
        self.offset = offset
        self.length = length
    }
}
