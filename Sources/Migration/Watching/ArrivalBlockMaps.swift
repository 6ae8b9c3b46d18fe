import BlockModel
import Logging
import NIOConcurrencyHelpers

/// The blocks of disks that arrive or have arrived, by export, for people who watch. Any thread may use it.
public final class ArrivalBlockMaps: Sendable {
    /// Disks that are remembered after they have arrived; the oldest make room.
    private static let limit = 64

    private struct State {
        var maps: [String: ArrivalBlockMap] = [:]
        /// The newest last.
        var order: [String] = []
    }

    private let state = NIOLockedValueBox(State())

    /// Begins a disk of which nothing is here.
    func begin(_ export: String, _ geometry: BlockGeometry) -> BlockOrigins {
        let map = ArrivalBlockMap(geometry: geometry, origins: BlockOrigins(geometry: geometry)) { UInt64($0.count) }
        state.withLockedValue { state in
            state.maps[export] = map
            state.order.removeAll { $0 == export }
            state.order.append(export)
            while state.order.count > Self.limit,
                let oldest = state.order.first(where: { state.maps[$0]?.missing == nil })
            {
                state.order.removeAll { $0 == oldest }
                state.maps[oldest] = nil
            }
        }
        return map.origins
    }

    /// Continues a disk that has been switched over; begins it, if it was prepared in an earlier life of the node.
    func `continue`(_ export: String, _ geometry: BlockGeometry) -> BlockOrigins {
        if let map = state.withLockedValue({ $0.maps[export] }), map.geometry == geometry { return map.origins }
        return begin(export, geometry)
    }

    /// Takes the missing blocks of a disk that is being copied from its map.
    func show(_ present: PresentMap, of export: String) {
        state.withLockedValue { $0.maps[export]?.missing = { present.missing(in: $0) } }
    }

    /// Takes the missing blocks of a disk in post-copy from its map.
    func show(_ present: DurablePresentMap, of export: String) {
        state.withLockedValue { $0.maps[export]?.missing = { present.missing(in: $0) } }
    }

    /// Nothing of a disk is missing any more, and its map is not needed.
    func finish(_ export: String) { state.withLockedValue { $0.maps[export]?.missing = nil } }

    /// Forgets a disk that does not come.
    func remove(_ export: String) {
        state.withLockedValue { state in
            state.maps[export] = nil
            state.order.removeAll { $0 == export }
        }
    }

    /// The state of all blocks of a disk; nil if it has not arrived lately.
    public func picture(of export: String) -> BlockPicture? { state.withLockedValue { $0.maps[export] }?.picture }

    /// Names and sizes in bytes of the disks of which something is missing.
    public var arriving: [String: UInt64] {
        state.withLockedValue { $0.maps }.filter { $0.value.missing != nil }.mapValues(\.geometry.size)
    }

    /// Bytes that only the sources have, by export; without disks of which nothing is missing.
    public var missingBytes: [String: UInt64] {
        state.withLockedValue { $0.maps }.mapValues(\.missingBytes).filter { $0.value > 0 }
    }

    /// The origins of the bytes of a disk, for a log.
    func ledger(of export: String) -> Logger.Metadata {
        guard let map = state.withLockedValue({ $0.maps[export] }) else { return [:] }
        let sums = map.origins.totals
        return Dictionary(
            uniqueKeysWithValues: BlockOrigin.allCases.map { origin in
                let bytes = sums[origin.rawValue].multipliedClamped(by: UInt64(map.geometry.blockSize))
                return ("\(origin)", "\(bytes)")
            })
    }
}
