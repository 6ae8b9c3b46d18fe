/// The part of a disk that has come over a connection that has ended.
package struct LeftCopy: Equatable, Sendable {
    /// Bytes with which another attempt should begin.
    private static let enough: UInt64 = 1 << 20

    private let comesAgain: Bool
    private let isSound: Bool
    private let hasBase: Bool
    private let present: UInt64

    /// - Parameters:
    ///   - comesAgain: the source will be back: it was only the link, or this node ends.
    ///   - isSound: what was written could be made durable, as far as is known. Otherwise blocks may be gone, though the page
    ///     cache shows them.
    ///   - hasBase: an older copy of the disk was there before.
    ///   - present: bytes that have come.
    package init(comesAgain: Bool, isSound: Bool = true, hasBase: Bool = false, present: UInt64 = 0) {
        self.comesAgain = comesAgain
        self.isSound = isSound
        self.hasBase = hasBase
        self.present = present
    }

    /// Whether another attempt is to begin with it.
    /// - Parameter isAnswered: clients that are attached to the disk already wait for the next attempt.
    func isKept(isAnswered: Bool) -> Bool {
        comesAgain && isSound && (isAnswered || hasBase || present >= Self.enough)
    }
}
