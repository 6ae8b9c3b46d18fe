/// The exports that a handshake can offer.
public protocol ExportCatalog {
    /// What is known of an export; nil where there is none of that name. The empty name asks for the default one.
    func export(named name: String) -> ExportDescription?

    /// Whether somebody has to look whether the export is still what is known of it, before a client is told.
    func needsLook(at name: String) -> Bool

    /// Every export; nil where clients are not told.
    func exports() -> [ExportDescription]?
}

extension ExportCatalog {
    /// What is known stays true.
    public func needsLook(at name: String) -> Bool { false }
}
