/// Another server may have lost changes of a disk that it had acknowledged, and that nobody had flushed.
///
/// It goes on with what is left. Who has read the disk meanwhile may have seen more.
public struct LostChanges: Error, CustomStringConvertible {
    let path: String

    /// One line for the user.
    public var description: String {
        "\(path): its server has ended or was not reached, and may have lost what was not flushed"
    }
}
