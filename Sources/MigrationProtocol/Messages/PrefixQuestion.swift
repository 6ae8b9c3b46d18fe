/// Asks which blocks the destination has in its neighbours, by the first halves of their fingerprints. Only if both sides
/// have `prefix`.
public struct PrefixQuestion: Sendable, Equatable {
    /// The most bytes of the blocks that a final question names.
    package static let maximumBytes = 128 << 20
    /// The most blocks of a question.
    package static let maximumBlocks = 1 << 15
    /// The most questions of a migration's connection.
    package static let maximumQuestions = 2

    package var prefixes: [UInt64]
    /// The blocks that the destination has become the prefix of the stream, in this order: it reads them now. No question
    /// follows. Otherwise it only looks them up.
    package var isFinal: Bool

    package init(prefixes: [UInt64], isFinal: Bool) {
        self.prefixes = prefixes
        self.isFinal = isFinal
    }
}
