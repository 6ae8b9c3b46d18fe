/// A configured export that can't be served, and is tried again when its image changes, or now and then.
struct WaitingExport: Sendable {
    private static let pause = Duration.seconds(10)

    let configuration: ExportConfiguration
    /// Whether nothing but another attempt tells that the image can be opened.
    let mustTryAgain: Bool
    /// The image's path at the last attempt.
    private(set) var seen: ImageAppearance
    private var triedAt = ContinuousClock.now

    init(_ configuration: ExportConfiguration, _ seen: ImageAppearance, mustTryAgain: Bool) {
        (self.configuration, self.seen, self.mustTryAgain) = (configuration, seen, mustTryAgain)
    }

    /// Whether another attempt may succeed.
    func isDue(_ now: ImageAppearance) -> Bool { now != seen || mustTryAgain && triedAt + Self.pause <= .now }

    /// Records an attempt.
    mutating func tried(_ now: ImageAppearance) { (seen, triedAt) = (now, .now) }
}
