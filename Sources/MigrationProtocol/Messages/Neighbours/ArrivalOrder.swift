/// The order in which disks began to arrive at the hosts of a site. A disk waits for earlier ones only, so that no two wait
/// for each other. Clocks that differ make it another order, and no worse one.
public struct ArrivalOrder: Sendable, Hashable, Comparable {
    /// Microseconds since 1970, by the host's clock.
    package var time: UInt64
    /// Random; tells disks of one moment apart.
    package var number: UInt64

    package init(time: UInt64, number: UInt64) {
        self.time = time
        self.number = number
    }

    /// Whether `a` began to arrive before `b`.
    public static func < (a: ArrivalOrder, b: ArrivalOrder) -> Bool { (a.time, a.number) < (b.time, b.number) }
}
