import BlockModel
import MigrationCore
import NIOConcurrencyHelpers
import Peer

/// Measures how far a disk is that is being copied here. Any thread may use it.
final class ArrivalProgress: Sendable {
    /// Counting the blocks of a disk of 1 TiB takes about 5 ms.
    private static let interval = Duration.milliseconds(500)

    private struct State {
        var map: PresentMap?
        var geometry: BlockGeometry?
        var connection: PeerConnection?
        var present = RecentRate()
        var wire = RecentRate()
        var last: ContinuousClock.Instant?
    }

    private let state = NIOLockedValueBox(State())

    /// Begins to measure a disk.
    /// - Parameter connection: brings the disk.
    func begin(_ map: PresentMap, _ geometry: BlockGeometry, over connection: PeerConnection) {
        state.withLockedValue { ($0.map, $0.geometry, $0.connection) = (map, geometry, connection) }
    }

    /// Something has come. Cheap if the last count is recent.
    func note(at now: ContinuousClock.Instant = .now) {
        let isDue = state.withLockedValue { state in
            if let last = state.last, last.duration(to: now) < Self.interval { return false }
            state.last = now
            return true
        }
        if isDue { count(at: now) }
    }

    @discardableResult
    private func count(at now: ContinuousClock.Instant) -> UInt64 {
        let (map, geometry, connection) = state.withLockedValue { ($0.map, $0.geometry, $0.connection) }
        guard let map, let geometry else { return 0 }
        let missing = min(map.missing(), geometry.blockCount)
        let present = min(geometry.size, (geometry.blockCount - missing) * UInt64(geometry.blockSize))
        let wire = connection.map { $0.traffic.sent + $0.traffic.received } ?? 0
        state.withLockedValue { state in
            state.present.note(present, at: now)
            state.wire.note(wire, at: now)
        }
        return present
    }

    /// How far it is now.
    func status(of export: String, size: UInt64) -> ArrivalStatus {
        let present = count(at: .now)
        let (rate, wire, source) = state.withLockedValue { state in
            (state.present.perSecond, state.wire.perSecond, state.connection?.remoteAddress)
        }
        return ArrivalStatus(
            export: export, size: size, present: present, bytesPerSecond: rate, linkRate: wire * 8,
            secondsLeft: rate > 0 && present < size ? Double(size - present) / rate : nil, source: source)
    }
}
