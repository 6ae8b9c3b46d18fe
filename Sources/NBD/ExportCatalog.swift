/// The exports that a handshake can offer.
public protocol ExportCatalog {
    /// Describes an export; nil if there is none of that name. The empty name asks for the default export.
    func export(named name: String) -> ExportDescription?

    /// Whether the export must be examined for changes before a client is told about it
    /// (`Handshake.Progress.needsLook`).
    func needsLook(at name: String) -> Bool

    /// Lists every export; nil if the server does not list them.
    func exports() -> [ExportDescription]?

    /// The number of exports, listed or not.
    var exportCount: Int { get }

    /// Decides about a client that chooses an export. A client that is granted it begins its transmission.
    func admission(to export: ExportDescription) -> Admission
}

extension ExportCatalog {
    /// The number of listed exports.
    public var exportCount: Int { exports()?.count ?? 0 }

    /// Grants every client every export.
    public func admission(to export: ExportDescription) -> Admission { .granted }
}

extension ExportCatalog {
    /// Says that no export needs to be examined.
    public func needsLook(at name: String) -> Bool { false }
}
