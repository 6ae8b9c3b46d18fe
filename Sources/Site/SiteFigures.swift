/// A site in numbers, as one host saw it last.
package struct SiteFigures: Sendable, Equatable {
    /// Hosts with a beat in the last minute, this one too.
    package var alive = 0
    /// Hosts without one.
    package var gone = 0
    /// Tables that this host has published, and their bytes.
    package var tables = 0
    package var tableBytes: UInt64 = 0
    /// Samples in all catalogues, and the bytes of these.
    package var samples: UInt64 = 0
    package var sampleBytes: UInt64 = 0
    /// The moment of the last look at the store that has succeeded.
    package var looked: ContinuousClock.Instant

    package init(looked: ContinuousClock.Instant) { self.looked = looked }
}
