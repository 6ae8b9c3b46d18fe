/// The moment at which a disk is switched over.
public enum Switchover: String, Codable, Sendable, CaseIterable {
    /// As soon as the downtime is short enough; if copying ahead does not get there, the rest is left to post-copy.
    case converged
    /// With the first write at the destination.
    case firstWrite = "first-write"
    /// When the operator says so.
    case manual
    /// At once; everything is left to post-copy.
    case now

    /// Whether clients of the destination are answered before the disk is there.
    package var isAnsweredEarly: Bool { self == .firstWrite || self == .manual }

    /// The code on the wire.
    package var code: UInt8 {
        switch self {
        case .converged: 0
        case .firstWrite: 1
        case .manual: 2
        case .now: 3
        }
    }

    package init?(code: UInt8) {
        guard let found = Self.allCases.first(where: { $0.code == code }) else { return nil }
        self = found
    }
}
