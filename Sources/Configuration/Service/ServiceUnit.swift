import Daemon
import Foundation
import PeerModel

/// The service of systemd that runs a node with a configuration file, if there is one on this machine.
public struct ServiceUnit: Sendable {
    private static let standard = "nearblock.service"

    /// The unit's name.
    public let name: String
    /// The user whose rights the node has; nil for root's.
    public let user: String?
    /// Its main group, where it is not the user's.
    public let group: String?
    /// Further groups.
    public let groups: [String]
    /// The sockets that systemd opens for it.
    public let sockets: [ServiceSocket]
    /// The files that a service may have open; nil if the unit does not say.
    public let descriptorLimit: UInt64?
    /// Directories that systemd makes before the node starts, and gives to its user.
    public let madeDirectories: [String]
    let sandbox: ServiceSandbox
    private let options: [String: String]

    /// Finds the service that runs a node with a file.
    /// - Parameter config: nil for the service with any file.
    /// - Returns: Nil if there is none. Blocks the thread.
    public static func running(config: String?) -> ServiceUnit? {
        guard let file = UnitFile(standard) else { return nil }
        let unit = ServiceUnit(file)
        guard let config else { return unit }
        guard let own = unit.options["config"] else { return nil }
        return canonical(own) == canonical(config) ? unit : nil
    }

    private init(_ file: UnitFile) {
        func value(_ key: String) -> String? { file.value(key, in: "Service") }
        name = file.name
        user = value("User").flatMap { ["root", "0"].contains($0) ? nil : $0 }
        group = value("Group")
        groups = file.words("SupplementaryGroups", in: "Service")
        sockets = ServiceSocket.all(of: file)
        descriptorLimit = value("LimitNOFILE").flatMap { $0.split(separator: ":").last }.flatMap { UInt64($0) }
        let made = [("StateDirectory", "/var/lib"), ("RuntimeDirectory", "/run"), ("CacheDirectory", "/var/cache")]
        madeDirectories = made.flatMap { key, root in
            file.words(key, in: "Service").map { "\(root)/\($0.prefix { $0 != ":" })" }
        }
        sandbox = ServiceSandbox(file, made: madeDirectories)
        options = Self.options(of: value("ExecStart") ?? "")
    }

    /// The values of `--NAME VALUE` and `--NAME=VALUE` of a command.
    private static func options(of command: String) -> [String: String] {
        let words = command.split(whereSeparator: \.isWhitespace).map { word in
            String(word.drop { "\"'".contains($0) }.reversed().drop { "\"'".contains($0) }.reversed())
        }
        var options: [String: String] = [:]
        for (index, word) in words.enumerated() where word.hasPrefix("--") {
            let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1).map(String.init)
            guard let name = parts.first else { continue }
            if parts.count == 2 {
                options[name] = parts[1]
            } else if index + 1 < words.count {
                options[name] = words[index + 1]
            }
        }
        return options
    }

    /// The path without links, or as it is if it leads nowhere.
    private static func canonical(_ path: String) -> String {
        guard let found = realpath(path, nil) else { return path }
        defer { free(found) }
        return String(cString: found)
    }

    /// Gives a configuration the directories of the service's command line.
    public func apply(to node: inout NodeConfiguration) {
        if let state = options["state"] { node.state = state }
        if let control = options["control"] { node.control = control }
    }

    /// The address on which systemd listens for peers; nil if it does not.
    public var peerAddress: PeerAddress? { sockets.lazy.compactMap(\.peerAddress).first }

    /// Whether systemd listens for NBD clients.
    public var listensForClients: Bool { sockets.contains { !$0.isForPeers && !$0.addresses.isEmpty } }
}
