import BlockModel

/// The terms on which source and destination have agreed before the first block.
package struct OpenedMigration: Equatable, Sendable {
    package let geometry: BlockGeometry
    /// Whether the destination has an older copy of the disk.
    package let hasBase: Bool
    /// Whether `ProtocolSupport.Capabilities.latePieces` may be used.
    package let takesLatePieces: Bool
    /// Whether `ProtocolSupport.Capabilities.bitmaps` may be used.
    package let takesBitmap: Bool
    /// Whether `ProtocolSupport.Capabilities.prefix` may be used.
    package let takesPrefix: Bool

    package init(
        geometry: BlockGeometry, hasBase: Bool, takesLatePieces: Bool, takesBitmap: Bool = false,
        takesPrefix: Bool = false
    ) {
        self.takesBitmap = takesBitmap
        self.geometry = geometry
        self.hasBase = hasBase
        self.takesLatePieces = takesLatePieces
        self.takesPrefix = takesPrefix
    }
}
