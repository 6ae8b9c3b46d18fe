import Foundation
import MigrationProtocol

/// The environment of the operator's commands. All that comes from a peer is in here, checked and bounded, and nothing of it on
/// a command line.
enum TargetVariables {
    /// Variables of the node by which its service manager talks to it.
    private static let ownVariables = [
        "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID",
    ]

    /// - Parameters:
    ///   - action: `prepare` or `release`.
    ///   - usedBytes: of data; nil if nobody has said.
    static func environment(_ action: String, for record: TargetRecord, usedBytes: UInt64?) -> [String: String] {
        var variables = ProcessInfo.processInfo.environment
        for name in variables.keys where ownVariables.contains(name) || name.hasPrefix("NEARBLOCK_") {
            variables[name] = nil
        }
        // An offer with another name is refused before.
        precondition(ExportName.problem(with: record.export) == nil)
        variables["NEARBLOCK_ACTION"] = action
        variables["NEARBLOCK_ARRIVAL"] = record.arrival
        variables["NEARBLOCK_EXPORT"] = record.export
        variables["NEARBLOCK_SIZE"] = String(record.size)
        variables["NEARBLOCK_USED"] = String(min(usedBytes ?? record.size, record.size))
        variables["NEARBLOCK_FORMAT"] = "raw"
        variables["NEARBLOCK_DOMAIN"] = record.domain ?? ""
        if let place = record.place { variables["NEARBLOCK_PLACE"] = place }
        return variables
    }
}
