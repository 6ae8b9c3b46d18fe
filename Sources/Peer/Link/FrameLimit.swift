import NIOConcurrencyHelpers

/// The longest frame that a connection takes; raised once it is known what the connection is for. Longer ones can be
/// announced: they stay in the sender's socket until the reader has room for them. Used from any thread.
final class FrameLimit: Sendable {
    enum Verdict: Equatable {
        case take
        /// The frame waits from now on, and the reader must be told so.
        case announce
        case wait
        case refuse
    }

    private struct State {
        var bytes: Int
        /// The longest frame that is announced; 0 if none are.
        var longest = 0
        /// The length of the frame that waits, or that may come now; 0 for none.
        var length = 0
        var mayCome = false
    }

    private let state: NIOLockedValueBox<State>

    init(_ bytes: Int) {
        state = NIOLockedValueBox(State(bytes: bytes))
    }

    var bytes: Int { state.withLockedValue { max($0.bytes, $0.longest) } }

    func raise(to bytes: Int) { state.withLockedValue { $0.bytes = bytes } }

    /// From now on frames that are longer than the limit, up to `longest`, are announced and wait.
    func announce(upTo longest: Int) { state.withLockedValue { $0.longest = longest } }

    /// Decides about a frame of this length that has begun.
    func judge(_ length: Int) -> Verdict {
        state.withLockedValue { state in
            if length <= state.bytes || (state.mayCome && state.length == length) { return .take }
            guard length <= state.longest else { return .refuse }
            defer { state.length = length }
            return state.length == 0 ? .announce : .wait
        }
    }

    /// The bytes of the frame that waits; 0 if none does.
    var waiting: Int { state.withLockedValue { $0.mayCome ? 0 : $0.length } }

    /// Lets the waiting frame come.
    func letCome() { state.withLockedValue { $0.mayCome = $0.length > 0 } }

    /// Records that a whole frame has come.
    func hasCome() {
        state.withLockedValue { state in
            state.length = 0
            state.mayCome = false
        }
    }
}
