import MigrationProtocol

/// The source's questions for a prefix, and the destination's answers. No step of the migration waits for them.
final class PrefixExchange: Sendable {
    private struct State {
        var answer: PrefixAnswer?
        var isClosed = false
    }

    /// The longest wait for an answer: what comes later is of no use any more.
    private static let patience = Duration.seconds(30)
    /// The time between two looks at whether the search is over: a guest may wait for the disk.
    private static let look = Duration.milliseconds(50)

    private let state = WatchedValue(State())
    private let send: @Sendable (PrefixQuestion) async throws -> Void

    /// - Parameter send: sends a question of which the machine knows then.
    init(send: @escaping @Sendable (PrefixQuestion) async throws -> Void) {
        self.send = send
    }

    /// Asks, and waits for the answer; one question at a time.
    /// - Parameter isOver: asked now and then; once true, the answer is not waited for.
    /// - Returns: nil if no answer comes in time.
    /// - Throws: what sending throws.
    func ask(_ question: PrefixQuestion, isOver: @Sendable () -> Bool) async throws -> PrefixAnswer? {
        guard !isOver() else { return nil }
        try await send(question)
        let limit = ContinuousClock.now + Self.patience
        while !(await state.wait(until: { $0.answer != nil || $0.isClosed }, atMost: Self.look)) {
            guard !isOver(), .now < limit else { return nil }
        }
        return state.withLockedValue { $0.answer.take() }
    }

    /// Notes the answer to the last question.
    func answered(_ answer: PrefixAnswer) { state.withLockedValue { $0.answer = answer } }

    /// No more answers come.
    func close() { state.withLockedValue { $0.isClosed = true } }
}
