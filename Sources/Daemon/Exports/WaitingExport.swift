/// A configured export that can't be served, and is tried again when its image changes, and now and then.
///
/// Nothing tells that another server has started, or that another program has released a lock.
struct WaitingExport: Sendable {
    /// The time between two attempts to open an image that looks the same.
    static let pause = Duration.seconds(10)

    let configuration: ExportConfiguration
    /// The image's path at the last attempt.
    private(set) var seen: ImageAppearance
    private var triedAt = ContinuousClock.now

    init(_ configuration: ExportConfiguration, _ seen: ImageAppearance) {
        (self.configuration, self.seen) = (configuration, seen)
    }

    /// Whether another attempt may succeed.
    func isDue(_ now: ImageAppearance) -> Bool { now != seen || triedAt + Self.pause <= .now }

    /// Records an attempt.
    mutating func tried(_ now: ImageAppearance) { (seen, triedAt) = (now, .now) }
}
