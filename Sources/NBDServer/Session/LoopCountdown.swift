/// Calls back when it has been counted down to 0; immediately if it starts at 0.
///
/// `@unchecked Sendable`: only the thread of one loop counts down.
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
