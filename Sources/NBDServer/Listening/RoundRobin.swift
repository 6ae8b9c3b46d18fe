/// Counts 0, 1, … `count` - 1, and starts again at 0.
final class RoundRobin {
    private let count: Int
    private var last = -1

    init(count: Int) {
        self.count = count
    }

    func next() -> Int {
        last = (last + 1) % count
        return last
    }
}
