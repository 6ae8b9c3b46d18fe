import Block

/// A resize under way of a disk that another server or a helper holds.
struct RemoteResize: Sendable {
    /// The export as it was at the start; a reload may have replaced it since.
    let export: NodeExport
    let configuration: ExportConfiguration
    /// The opening that another one replaces.
    let image: NBDDiskImage
    /// Held until another opening stands under the disk, or none will.
    let claim = ExportClaim(for: .resize)

    /// Bytes that clients have been told.
    let told: UInt64

    init(of export: NodeExport, _ configuration: ExportConfiguration, _ image: NBDDiskImage) {
        self.export = export
        self.configuration = configuration
        self.image = image
        told = export.export.description.size
    }

    var name: String { export.name }

    var disk: Disk { export.export.disk }
}
