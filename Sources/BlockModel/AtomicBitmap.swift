import Glibc
import Synchronization

/// A fixed number of bits that any number of threads set, clear and read at once without locks.
///
/// `@unchecked Sendable`: the memory is allocated once, freed once, and reached only through atomics.
package final class AtomicBitmap: @unchecked Sendable {
    package let count: UInt64
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let wordCount: Int
    /// Keeps the memory alive if the bitmap does not own it.
    private let owner: AnyObject?

    /// Uses bits that are already in memory of `owner`.
    package init(count: UInt64, in memory: UnsafeMutableRawPointer, of owner: AnyObject) {
        self.count = count
        self.owner = owner
        wordCount = Int((count + 63) / 64)
        words = memory.assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// `count` bits, all clear. Takes `count / 8` bytes.
    package init(count: UInt64) {
        self.count = count
        owner = nil
        wordCount = Int((count + 63) / 64)
        // calloc's memory is zero without having been touched, so the map of a large sparse disk costs only what is set
        // in it. An atomic word of zero has only zero bytes.
        words = calloc(max(wordCount, 1), MemoryLayout<Atomic<UInt64>>.stride)!
            .assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    deinit { if owner == nil { free(words) } }

    package func isSet(_ bit: UInt64) -> Bool {
        precondition(bit < count)
        return words[Int(bit >> 6)].load(ordering: .sequentiallyConsistent) & (1 << (bit & 63)) != 0
    }

    /// Sets a range of bits; returns how many of them were clear before.
    @discardableResult
    package func set(_ range: Range<UInt64>) -> UInt64 {
        precondition(range.upperBound <= count)
        var changed = 0
        forEachWord(in: range) { index, mask in
            let before = words[index].bitwiseOr(mask, ordering: .sequentiallyConsistent).oldValue
            changed += (mask & ~before).nonzeroBitCount
        }
        return UInt64(changed)
    }

    /// Sets the bits that are set in another bitmap, as far as this one goes.
    package func set(allOf other: AtomicBitmap) {
        for index in 0..<min(wordCount, other.wordCount) {
            let isCut = index == wordCount - 1 && count % 64 != 0
            let word = other.word(at: index) & (isCut ? (1 << (count % 64)) - 1 : .max)
            if word != 0 { words[index].bitwiseOr(word, ordering: .sequentiallyConsistent) }
        }
    }

    /// Clears a range of bits.
    package func clear(_ range: Range<UInt64>) {
        precondition(range.upperBound <= count)
        forEachWord(in: range) { index, mask in words[index].bitwiseAnd(~mask, ordering: .sequentiallyConsistent) }
    }

    /// The first bit of a range that is `value`; nil where none is.
    package func first(_ value: Bool, in range: Range<UInt64>) -> UInt64? {
        precondition(range.upperBound <= count)
        var bit = range.lowerBound
        while bit < range.upperBound {
            let word = words[Int(bit >> 6)].load(ordering: .sequentiallyConsistent)
            let wanted = (value ? word : ~word) >> (bit & 63)
            if wanted != 0 {
                let found = bit + UInt64(wanted.trailingZeroBitCount)
                return found < range.upperBound ? found : nil
            }
            bit = (bit | 63) + 1
        }
        return nil
    }

    /// The first run of clear bits in a range; nil where all are set.
    package func clearRun(in range: Range<UInt64>) -> Range<UInt64>? {
        guard let start = first(false, in: range) else { return nil }
        return start..<(first(true, in: start..<range.upperBound) ?? range.upperBound)
    }

    /// All runs of clear bits in a range, ascending.
    package func clearRuns(in range: Range<UInt64>) -> [Range<UInt64>] {
        var runs: [Range<UInt64>] = []
        var position = range.lowerBound
        while let run = clearRun(in: position..<range.upperBound) {
            runs.append(run)
            position = run.upperBound
        }
        return runs
    }

    /// Replaces one word of a map that no other thread uses yet.
    package func setWord(at index: Int, to value: UInt64) {
        words[index].store(value, ordering: .sequentiallyConsistent)
    }

    /// The current value of one word.
    package func word(at index: Int) -> UInt64 { words[index].load(ordering: .sequentiallyConsistent) }

    /// Clears the bits of one word except those in `kept`. Returns the cleared bits, the lowest for the word's first.
    package func takeWord(at wordIndex: Int, without kept: UInt64 = 0) -> UInt64 {
        // Most words are clear most of the time, and a load leaves them in other cores' caches.
        guard words[wordIndex].load(ordering: .relaxed) & ~kept != 0 else { return 0 }
        return words[wordIndex].bitwiseAnd(kept, ordering: .sequentiallyConsistent).oldValue & ~kept
    }

    /// The number of 64-bit words.
    package var numberOfWords: Int { wordCount }

    /// The number of set bits; other threads may change them meanwhile.
    package func countSet() -> UInt64 {
        var total = 0
        for index in 0..<wordCount { total += words[index].load(ordering: .relaxed).nonzeroBitCount }
        return UInt64(total)
    }

    /// The number of set bits in a range; other threads may change them meanwhile.
    package func countSet(in range: Range<UInt64>) -> UInt64 {
        precondition(range.upperBound <= count)
        var total = 0
        forEachWord(in: range) { index, mask in
            total += (words[index].load(ordering: .relaxed) & mask).nonzeroBitCount
        }
        return UInt64(total)
    }

    private func forEachWord(in range: Range<UInt64>, _ body: (Int, UInt64) -> Void) {
        var bit = range.lowerBound
        while bit < range.upperBound {
            let first = bit & 63
            let bits = min(64 - first, range.upperBound - bit)
            let mask = (bits == 64 ? UInt64.max : (1 << bits) - 1) << first
            body(Int(bit >> 6), mask)
            bit += bits
        }
    }
}
