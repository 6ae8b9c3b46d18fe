/// The exports that a handshake can offer.
public protocol ExportCatalog {
    /// What is known of an export; nil where there is none of that name. The empty name asks for the default one.
    func export(named name: String) -> ExportDescription?

    /// Every export; nil where clients are not told.
    func exports() -> [ExportDescription]?
}
