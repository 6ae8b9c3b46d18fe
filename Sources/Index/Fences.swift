/// The first 8 bytes of each chunk's first fingerprint: the part of a table that stays in memory.
struct Fences: Sendable {
    private var prefixes: [UInt64] = []

    /// Takes the next one; false, and nothing is taken, where it does not ascend. Two equal ones would need
    /// 129 fingerprints that share 64 bits.
    mutating func append(_ prefix: UInt64) -> Bool {
        if let last = prefixes.last, last >= prefix { return false }
        prefixes.append(prefix)
        return true
    }

    /// The chunks that may hold a fingerprint with this prefix; nil where none can.
    ///
    /// Nearly always one. Two where the prefix is the very one of a fence, since its equals may start in the
    /// chunk before.
    func chunks(for prefix: UInt64) -> ClosedRange<Int>? {
        guard let last = last(notAfter: prefix) else { return nil }
        return (prefixes[last] == prefix ? max(0, last - 1) : last)...last
    }

    private func last(notAfter prefix: UInt64) -> Int? {
        guard let first = prefixes.first, first <= prefix else { return nil }
        var (low, high) = bracket(prefix)
        while high - low > 1 {
            let middle = low + (high - low) / 2
            if prefixes[middle] <= prefix { low = middle } else { high = middle }
        }
        return low
    }

    /// A low that is not after the prefix and a high that is, or is the end. Hashes spread evenly, so the
    /// place is known to within the root of the count; doubling steps from there find it, and any other
    /// spread too.
    private func bracket(_ prefix: UInt64) -> (low: Int, high: Int) {
        let guess = Int(prefix.multipliedFullWidth(by: UInt64(prefixes.count)).high)
        var (low, high, step) = (guess, guess, 1)
        if prefixes[guess] <= prefix {
            repeat {
                low = high
                high = min(prefixes.count, low + step)
                step *= 2
            } while high < prefixes.count && prefixes[high] <= prefix
        } else {
            repeat {
                high = low
                low = max(0, high - step)
                step *= 2
            } while prefixes[low] > prefix
        }
        return (low, high)
    }
}
