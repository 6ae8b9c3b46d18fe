import BlockModel

/// Which blocks requests and fills hold against each other.
extension PostCopyScheduler {
    /// The parts of a range that neither a request is writing nor a fill.
    func free(_ range: Range<UInt64>) -> [Range<UInt64>] {
        Self.without(Array(writing.values) + Array(fills.values.joined()), range)
    }

    static func without(_ claims: [Range<UInt64>], _ range: Range<UInt64>) -> [Range<UInt64>] {
        var parts = [range]
        for claim in claims where claim.overlaps(range) {
            parts = parts.flatMap { part -> [Range<UInt64>] in
                guard part.overlaps(claim) else { return [part] }
                return [
                    part.lowerBound..<max(part.lowerBound, claim.lowerBound),
                    min(part.upperBound, claim.upperBound)..<part.upperBound,
                ].filter { !$0.isEmpty }
            }
        }
        return parts
    }

    func wholeBlocks(of bytes: Range<UInt64>) -> Range<UInt64> {
        let blockSize = UInt64(geometry.blockSize)
        let first = (bytes.lowerBound + blockSize - 1) / blockSize
        let end = bytes.upperBound == geometry.size ? geometry.blockCount : bytes.upperBound / blockSize
        return first < end ? first..<end : 0..<0
    }
}
