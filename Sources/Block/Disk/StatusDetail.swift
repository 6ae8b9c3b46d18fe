/// The detail that the owner of a block status wants in the answer.
public enum StatusDetail: UInt8, Comparable, Sendable {
    /// No answer: the client is gone, and the request ends with `ESHUTDOWN`.
    case nothing
    /// The least that makes an answer, because others wait until the owner's requests have ended.
    case least
    /// As many extents as the request allows, within the device's time limits.
    case full

    /// Orders by the amount of detail.
    public static func < (one: StatusDetail, other: StatusDetail) -> Bool { one.rawValue < other.rawValue }
}
