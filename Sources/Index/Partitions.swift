/// What one thread has collected, sorted into 256 heaps by the fingerprints' first byte.
///
/// The heaps of all threads under one byte are later sorted as one, so that many threads can sort at once and
/// the results need only be put one after the other.
struct Partitions<Element: Fingerprinted>: Sendable {
    static var count: Int { 256 }
    private var heaps = [[Element]](repeating: [], count: count)

    mutating func append(_ element: Element) {
        heaps[Int(element.fingerprint.high >> 56)].append(element)
    }

    /// The latest element that would lie beside this fingerprint.
    func last(beside fingerprint: Fingerprint) -> Element? {
        heaps[Int(fingerprint.high >> 56)].last
    }

    mutating func take(_ index: Int) -> [Element] {
        var heap: [Element] = []
        swap(&heap, &heaps[index])
        return heap
    }
}
