import Block

/// What source and destination have agreed on before the first block.
struct OpenedMigration: Sendable {
    let geometry: BlockGeometry
    /// Whether the destination has an older copy of the disk.
    let hasBase: Bool
    /// Whether `ProtocolSupport.Capabilities.latePieces` may be used.
    let takesLatePieces: Bool
}
