/// The exports that a handshake can offer.
public protocol ExportCatalog {
    /// What is known of an export; nil where there is none of that name. The empty name asks for the default one.
    func export(named name: String) -> ExportDescription?

    /// Whether somebody has to look whether the export is still what is known of it, before a client is told.
    func needsLook(at name: String) -> Bool

    /// Every export; nil where clients are not told.
    func exports() -> [ExportDescription]?

    /// How many exports there are, whether clients are told or not.
    var exportCount: Int { get }

    /// Asked when the client chooses an export. A client that is granted one begins its transmission.
    func admission(to export: ExportDescription) -> Admission
}

extension ExportCatalog {
    /// As many as are told.
    public var exportCount: Int { exports()?.count ?? 0 }

    /// Every client may have every export.
    public func admission(to export: ExportDescription) -> Admission { .granted }
}

extension ExportCatalog {
    /// What is known stays true.
    public func needsLook(at name: String) -> Bool { false }
}
