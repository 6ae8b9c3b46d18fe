/// How much the owner of a block status wants to know.
public enum StatusDetail: UInt8, Comparable, Sendable {
    /// Nothing: nobody hears the answer, and the request ends with `ESHUTDOWN`.
    case nothing
    /// As little as makes an answer: others wait until the owner's requests have ended.
    case least
    /// As many extents as the request allows, within the device's limits of time.
    case full

    /// By how much is wanted.
    public static func < (one: StatusDetail, other: StatusDetail) -> Bool { one.rawValue < other.rawValue }
}
