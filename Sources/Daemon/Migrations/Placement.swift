import Migration
import PeerModel

/// The choice of one of several destinations of a migration, by what each of them has of the disks.
public struct Placement: Codable, Sendable {
    /// The answer of one destination.
    public struct Answer: Codable, Sendable {
        /// Address of the destination.
        public var destination: PeerAddress
        /// Bytes that would cross the link; nil if it can't take the disks.
        public var wire: UInt64?
        /// Why it can't take them.
        public var problem: String?
    }

    /// The destination that was chosen.
    public var chosen: PeerAddress
    /// In the order of the command.
    public var answers: [Answer]

    /// The choice and its reason, in one line.
    /// - Parameter bytes: Makes a number of bytes readable.
    public func line(_ bytes: (UInt64) -> String) -> String {
        let others = answers.filter { $0.destination != chosen }.map { answer in
            let reason = answer.wire.map { "\(bytes($0))" } ?? answer.problem ?? "no answer"
            return "\(answer.destination): \(reason)"
        }
        let wire = answers.first { $0.destination == chosen }?.wire ?? 0
        return "to \(chosen), where \(bytes(wire)) would cross the link; \(others.joined(separator: "; "))"
    }

    /// The destination to which the fewest bytes would cross; of equal ones the first. Nil if none takes the disks.
    static func best(of answers: [Answer]) -> Placement? {
        let able = answers.filter { $0.wire != nil }
        guard let best = able.min(by: { $0.wire! < $1.wire! }) else { return nil }
        return Placement(chosen: best.destination, answers: answers)
    }
}
