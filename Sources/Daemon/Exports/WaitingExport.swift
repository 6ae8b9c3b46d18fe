/// A configured export that can't be served, and is tried again when its image changes.
struct WaitingExport: Sendable {
    let configuration: ExportConfiguration
    /// The image's path at the last attempt.
    var seen: ImageAppearance
}
