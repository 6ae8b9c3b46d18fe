import Glibc
import NIOConcurrencyHelpers
import Rados

/// The lease of the host that merges, by a lock of RADOS that runs out.
///
/// The lock alone does not keep a host away that was stopped for longer than it lasts. So each holder writes a number that grows
/// into the folder of the catalogues. A merger's change fails if the number is another's, in one step.
final class RadosLease: SiteLease {
    static let attribute = "merger"
    /// The attribute's value before the first holder.
    static let none = "0"
    private static let folder = "samples"
    private static let lock = "merge"

    private let pool: RadosPool
    private let host: String
    private let token = String(UInt64.random(in: 1 ... .max), radix: 16)
    private let current = NIOLockedValueBox<String?>(nil)

    init(host: String, in pool: RadosPool) {
        (self.host, self.pool) = (host, pool)
    }

    /// The value that the attribute must have when this host changes anything; nil if it does not merge.
    var fence: String? { current.withLockedValue { $0 } }

    func hold(now: ContinuousClock.Instant) throws -> Bool {
        // Before the lock: whoever takes it later than this host writes another value first.
        let before = try pool.attribute(Self.attribute, of: Self.folder) ?? Self.none
        let seconds = Int(Heartbeats.limit.components.seconds)
        guard try pool.lock(Self.folder, name: Self.lock, cookie: token, seconds: seconds) else {
            current.withLockedValue { $0 = nil }
            return false
        }
        if fence == before { return true }
        return try raise(from: before)
    }

    /// Writes this host's number in the place of the one before.
    /// - Returns: False if another host was faster.
    func raise(from before: String) throws -> Bool {
        let number = before.split(separator: " ").first.flatMap { UInt64($0) } ?? 0
        let next = "\(number &+ 1) \(host) \(token)"
        let steps: [RadosChange] = [
            .expect(attribute: Self.attribute, value: before), .setAttribute(Self.attribute, value: next),
        ]
        let hasIt = try pool.change(Self.folder, steps, allowing: [ECANCELED]) >= 0
        current.withLockedValue { $0 = hasIt ? next : nil }
        return hasIt
    }

    var isHeld: Bool {
        guard let fence else { return false }
        return (try? pool.attribute(Self.attribute, of: Self.folder)) == fence
    }

    func release() {
        current.withLockedValue { $0 = nil }
        try? pool.unlock(Self.folder, name: Self.lock, cookie: token)
    }
}
