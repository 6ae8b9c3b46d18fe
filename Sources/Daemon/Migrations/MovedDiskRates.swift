import Migration
import Peer

/// Rate limits of moved disks after a restart. Disks that moved to one node under one rate share a limit, as before it.
struct MovedDiskRates {
    private var limits: [String: RateLimit] = [:]

    mutating func limit(of moved: MovedRecord) -> RateLimit {
        let key = "\(moved.destination) \(moved.rate ?? 0)"
        let limit = limits[key] ?? RateLimit(bitsPerSecond: moved.rate)
        limits[key] = limit
        return limit
    }
}
