import Hashing
import Index
import MigrationProtocol

/// Blocks of the neighbours that the source proposes as a prefix.
extension IncomingDisk {
    /// The longest time for reading a prefix: the messages of the disk wait meanwhile.
    private static let prefixLimit = Duration.seconds(3)

    /// Answers a question, and begins to use the prefix if it is the final one.
    func answer(_ question: PrefixQuestion, _ room: PrefixRoom) throws -> PrefixAnswer {
        guard let index else { return PrefixAnswer(has: question.prefixes.map { _ in false }) }
        let candidates = index.lookUp(prefixes: question.prefixes)
        guard question.isFinal else { return PrefixAnswer(has: candidates.map { $0 != nil }) }
        guard let part = room.take(question.prefixes.count * geometry.blockSize) else {
            return PrefixAnswer(has: question.prefixes.map { _ in false })
        }
        index.willFetch(candidates)
        let buffer = BlockBuffer(byteCount: question.prefixes.count * geometry.blockSize)
        var filled = 0
        let deadline = ContinuousClock.now + Self.prefixLimit
        let has = zip(question.prefixes, candidates).map { prefix, candidate in
            guard let candidate, .now < deadline,
                index.fetch(
                    candidate, prefix: prefix, into: buffer.slice(filled, geometry.blockSize), hasher: hasher) != nil
            else { return false }
            filled += geometry.blockSize
            return true
        }
        guard filled > 0 else { return PrefixAnswer(has: has) }
        let prefix = StreamPrefix(buffer, byteCount: filled, room: part)
        use(prefix)
        return PrefixAnswer(has: has, digest: prefix.digest(hasher))
    }
}
