/// An image with fewer bytes than its disk is to have.
public struct ShortImage: Error, CustomStringConvertible {
    let path: String
    let size: UInt64
    let wanted: UInt64

    /// One line for the user.
    public var description: String {
        "\(path) has \(size) bytes, and a disk of \(wanted) is to be served from it: make the file longer, or the size smaller"
    }
}
