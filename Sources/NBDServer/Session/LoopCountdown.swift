/// Calls back once it was counted down to 0; at once where it begins there.
///
/// `@unchecked Sendable`: counted down on one loop's thread only.
final class LoopCountdown: @unchecked Sendable {
    private var left: Int
    private let done: () -> Void

    init(_ count: Int, then done: @escaping () -> Void) {
        left = count
        self.done = done
        if count == 0 { done() }
    }

    func countDown() {
        left -= 1
        if left == 0 { done() }
    }
}
