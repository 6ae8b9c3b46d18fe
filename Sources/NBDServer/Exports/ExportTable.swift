import NBD
import NIOConcurrencyHelpers

/// The exports that a node offers now; read by every handshake, changed by the node.
public final class ExportTable: ExportCatalog, Sendable {
    private struct Contents {
        var exports: [String: Export] = [:] {
            didSet { listing = nil }
        }
        /// All of them by name, as clients are told; made when it is needed. All connections that list share it.
        var listing: [ExportDescription]?
        var defaultName: String?
        var isListed = true
    }

    private let contents = NIOLockedValueBox(Contents())

    /// An empty table.
    public init() {}

    /// Offers an export from now on.
    /// - Parameter isDefault: whether it also answers to the empty name.
    /// - Returns: false where the name is taken.
    public func add(_ export: Export, isDefault: Bool = false) -> Bool {
        contents.withLockedValue { contents in
            let name = export.description.name
            guard contents.exports[name] == nil else { return false }
            contents.exports[name] = export
            if isDefault { contents.defaultName = name }
            return true
        }
    }

    /// Offers an export in the place of the one of its name, without a moment at which there is none.
    /// - Parameter isDefault: whether it also answers to the empty name.
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

    /// The export of that name. The empty name stands for the default one, or for the only one.
    public func find(_ name: String) -> Export? {
        contents.withLockedValue { contents in
            if let export = contents.exports[name] { return export }
            guard name.isEmpty else { return nil }
            if let name = contents.defaultName { return contents.exports[name] }
            return contents.exports.count == 1 ? contents.exports.values.first : nil
        }
    }

    /// `ExportCatalog`: for the handshake.
    public func export(named name: String) -> ExportDescription? {
        find(name)?.offer
    }

    /// `ExportCatalog`: whether what is behind it may have changed.
    public func needsLook(at name: String) -> Bool { find(name)?.watcher != nil }

    /// `ExportCatalog`: all of them by name.
    public func exports() -> [ExportDescription]? {
        contents.withLockedValue { contents in
            guard contents.isListed else { return nil }
            if let listing = contents.listing { return listing }
            let listing = contents.exports.values.map(\.description).sorted { $0.name < $1.name }
            contents.listing = listing
            return listing
        }
    }

    /// `ExportCatalog`: for the handshake.
    public var exportCount: Int { contents.withLockedValue { $0.exports.count } }

    /// Whether clients are told which exports there are.
    public func setListed(_ isListed: Bool) {
        contents.withLockedValue { $0.isListed = isListed }
    }

    /// Offers an export no longer. Clients that have it keep it until they leave.
    public func remove(_ name: String) {
        contents.withLockedValue { contents in
            contents.exports[name] = nil
            if contents.defaultName == name { contents.defaultName = nil }
        }
    }
}
