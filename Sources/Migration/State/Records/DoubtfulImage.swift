/// An image stands at the path of a record's image, and may be another one. The node does not guess (invariant 5).
public struct DoubtfulImage: Error, CustomStringConvertible {
    let path: String
    let file: String
    let state: String

    /// One line for the user.
    public var description: String {
        "\(path) is not the image that the record \(file) is about, which stood there; if it is the same disk: "
            + "nearblock record adopt \(path) --state \(state); if it is another disk: "
            + "nearblock record disown \(path) --state \(state); then run nearblock reload, or start the node again"
    }
}
