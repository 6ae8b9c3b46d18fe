import NBD
import NIOConcurrencyHelpers

/// The exports that a node offers now. The node changes the table and every handshake reads it, on any thread.
public final class ExportTable: ExportCatalog, Sendable {
    private struct Contents {
        var exports: [String: Export] = [:] {
            didSet { listing = nil }
        }
        /// All exports by name, for LIST; nil until a client asks. All connections that list share it.
        var listing: [ExportDescription]?
        var defaultName: String?
        var isListed = true
    }

    private let contents = NIOLockedValueBox(Contents())

    /// Creates an empty table.
    public init() {}

    /// Adds an export.
    /// - Parameter isDefault: whether the export also answers to the empty name.
    /// - Returns: false if the name is taken.
    public func add(_ export: Export, isDefault: Bool = false) -> Bool {
        contents.withLockedValue { contents in
            let name = export.description.name
            guard contents.exports[name] == nil else { return false }
            contents.exports[name] = export
            if isDefault { contents.defaultName = name }
            return true
        }
    }

    /// Replaces the export of the same name, if there is one, in one step.
    /// - Parameter isDefault: whether the export also answers to the empty name.
    public func replace(with export: Export, isDefault: Bool) {
        contents.withLockedValue { contents in
            let name = export.description.name
            contents.exports[name] = export
            if isDefault {
                contents.defaultName = name
            } else if contents.defaultName == name {
                contents.defaultName = nil
            }
        }
    }

    /// Finds an export by name; nil if there is none. The empty name means the default export, or the only one.
    public func find(_ name: String) -> Export? {
        contents.withLockedValue { contents in
            if let export = contents.exports[name] { return export }
            guard name.isEmpty else { return nil }
            if let name = contents.defaultName { return contents.exports[name] }
            return contents.exports.count == 1 ? contents.exports.values.first : nil
        }
    }

    /// `ExportCatalog`: describes an export.
    public func export(named name: String) -> ExportDescription? {
        find(name)?.offer
    }

    /// `ExportCatalog`: whether the export has a watcher.
    public func needsLook(at name: String) -> Bool { find(name)?.watcher != nil }

    /// `ExportCatalog`: lists all exports by name; nil if they are not listed.
    public func exports() -> [ExportDescription]? {
        contents.withLockedValue { contents in
            guard contents.isListed else { return nil }
            if let listing = contents.listing { return listing }
            let listing = contents.exports.values.map(\.description).sorted { $0.name < $1.name }
            contents.listing = listing
            return listing
        }
    }

    /// `ExportCatalog`: counts the exports, listed or not.
    public var exportCount: Int { contents.withLockedValue { $0.exports.count } }

    /// Sets whether clients may list the exports.
    public func setListed(_ isListed: Bool) {
        contents.withLockedValue { $0.isListed = isListed }
    }

    /// Removes an export. Clients that have it keep it until they leave.
    public func remove(_ name: String) {
        contents.withLockedValue { contents in
            contents.exports[name] = nil
            if contents.defaultName == name { contents.defaultName = nil }
        }
    }
}
