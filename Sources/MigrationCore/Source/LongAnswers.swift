import MigrationProtocol

/// Counts the answers that a source owes over one connection to reads before the switchover: only those may be long
/// messages.
package struct LongAnswers {
    private struct Read {
        package let answerBytes: Int
        /// A read may be asked again of the same connection.
        package var times: Int
    }

    private var open: [UInt64: Read] = [:]

    package init() {}

    /// A message goes to the source.
    package mutating func sends(_ message: Message) {
        guard case .request(let request) = message, request.kind == .read else { return }
        let bytes = ForwardAnswer.headerBytes + Int(request.length)
        open[request.id, default: Read(answerBytes: bytes, times: 0)].times += 1
    }

    /// A message has come from the source.
    package mutating func received(_ message: Message) {
        guard case .answer(let answer) = message, let times = open[answer.id]?.times else { return }
        if times > 1 { open[answer.id]?.times = times - 1 } else { open[answer.id] = nil }
    }

    /// Whether a message of so many bytes is owed.
    package func isOwed(_ bytes: Int) -> Bool { open.values.contains { $0.answerBytes == bytes } }
}
