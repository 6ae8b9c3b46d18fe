import Hashing

/// The pages that were sent as bytes and are kept by the destination: the latest ones, by content. At most some 64 bytes of
/// memory a page.
struct SentPages {
    /// Pages that the destination keeps.
    private let capacity: Int
    private var numbers: [Fingerprint: UInt64] = [:]
    /// The content of each kept page, at its number modulo `capacity`.
    private var kept: [Fingerprint] = []
    /// Pages that were sent as bytes so far.
    private(set) var count: UInt64 = 0

    init(capacity: Int) {
        self.capacity = capacity
    }

    /// The numbers that can be referred to.
    static func kept(of count: UInt64, capacity: Int) -> Range<UInt64> {
        count - min(count, UInt64(capacity))..<count
    }

    /// The number of a kept page; nil if none has this content.
    func find(_ content: Fingerprint) -> UInt64? { numbers[content] }

    /// Records pages that were sent as bytes, in their order.
    mutating func add(_ contents: [Fingerprint]) {
        for content in contents {
            add(content)
            count += 1
        }
    }

    private mutating func add(_ content: Fingerprint) {
        guard capacity > 0 else { return }
        let place = Int(count % UInt64(capacity))
        if place < kept.count {
            if numbers[kept[place]] == count - UInt64(capacity) { numbers[kept[place]] = nil }
            kept[place] = content
        } else {
            kept.append(content)
        }
        numbers[content] = count
    }
}
