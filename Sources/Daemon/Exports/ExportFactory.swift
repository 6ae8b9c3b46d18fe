import Block
import Logging
import NBDServer

/// Creates exports from their configurations, with the log lines of their failures and refused clients.
struct ExportFactory {
    let logger: Logger
    /// Counts the requests of each export; nil if nobody wants to know.
    let tallies: TallyBook?

    /// Creates an export of a disk.
    /// - Parameter old: The export that it replaces. Maps and connection count are shared with it; failures too, if the
    ///   name stays.
    func export(
        _ configuration: ExportConfiguration, disk: Disk, backing: Backing, replacing old: Export? = nil
    ) -> Export {
        Export(
            name: configuration.name, disk: disk, isReadOnly: backing.isReadOnly,
            isRotational: configuration.isRotational ?? backing.isRotational, text: configuration.text,
            isSynchronous: configuration.isSynchronous, requiresTLS: configuration.requiresTLS,
            maximumConnections: configuration.maximumConnections, maps: old?.maps ?? ExportMaps(),
            connections: old?.connections ?? ConnectionCount(),
            failures: old.flatMap { $0.description.name == configuration.name ? $0.failures : nil }
                ?? failures(of: configuration.name),
            refused: refusals(by: configuration), tallies: tallies?.tallies(of: configuration.name))
    }

    /// Creates an export of an incoming disk.
    func incoming(_ name: String, disk: Disk, device: BlockDevice) -> Export {
        Export(
            name: name, disk: disk, isReadOnly: (device as? IncomingDevice)?.isReadOnly ?? false, isRotational: false,
            text: "", isSynchronous: false, failures: failures(of: name), tallies: tallies?.tallies(of: name))
    }

    /// Creates the dirty bitmap for backups of an export; nil if none is configured. It does not track yet.
    func bitmap(_ configuration: ExportConfiguration, of export: Export) -> ChangeBitmap? {
        configuration.dirtyBitmap.flatMap { ChangeBitmap(name: $0, disk: export.disk, maps: export.maps) }
    }

    /// Creates the count of an export's failed requests, which it also logs now and then.
    private func failures(of name: String) -> RequestFailures {
        RequestFailures { [logger] in logger.error("\(name): \($0)") }
    }

    /// Creates the log of clients that the export's limit refuses; nil without a limit.
    private func refusals(by configuration: ExportConfiguration) -> RefusedClients? {
        guard let limit = configuration.maximumConnections else { return nil }
        return RefusedClients { [logger, name = configuration.name] count, client in
            let clients = count == 1 ? "a client was" : "\(count) clients were"
            logger.warning(
                "\(name): \(clients) refused, as it has \(limit) already (max-connections); more are told of once a minute",
                metadata: ["client": "\(client)", "export": "\(name)"])
        }
    }
}
