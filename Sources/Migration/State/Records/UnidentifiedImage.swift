/// A device that nothing tells from others: records of it could be taken for those of another one.
public struct UnidentifiedImage: Error, CustomStringConvertible {
    let path: String

    /// One line for the user.
    public var description: String {
        "\(path) has no UUID, WWID, serial number or backing file by which it could be known again; "
            + "name it: identity = NAME in its [export] section, or serve --identity NAME"
    }
}
