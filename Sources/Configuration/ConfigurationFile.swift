import Block
import Daemon
import Migration
import NBDServer
import Peer
import PeerModel

/// Reads nearblock's configuration file: a section `[node]` with options of `nearblock serve`, and a section `[export
/// NAME]` for each disk.
public enum ConfigurationFile {
    private static let nodeKeys: Set = [
        "listen", "socket", "vsock", "peer-listen", "images", "index", "state", "control", "tls", "tls-mode",
        "tls-verify-client", "peer-tls", "insecure-peer", "incoming-writes", "keep-index",
        "memory-dir", "image-mode", "image-group", "socket-mode", "socket-group",
        "prepare", "release",
    ]
    private static let domainKeys: Set = ["prepare", "release"]
    private static let exportKeys: Set = [
        "image", "read-only", "description", "direct", "default", "dirty-bitmap", "identity", "max-connections", "tls",
        "format",
    ]

    /// Reads a file into `node`; options that the file omits keep their values.
    /// - Throws: `ConfigurationError`, which names the section and the key.
    public static func read(_ path: String, into node: inout NodeConfiguration) throws {
        let file = try KeyFile(path: path)
        for section in file.sections {
            if section == "node" {
                try check(file, section, nodeKeys)
                try readNode(file, &node)
            } else if let name = suffix(of: section, "domain ") {
                try check(file, section, domainKeys)
                guard let commands = try readTargets(file, section) else {
                    throw ConfigurationError(path, "[\(section)] has no prepare")
                }
                node.targets.domains[name] = commands
            } else if let name = suffix(of: section, "export ") {
                try check(file, section, exportKeys)
                node.exports.append(try readExport(file, section, name))
            } else {
                throw ConfigurationError(
                    path, "[\(section)] is unknown; sections are [node], [export NAME] and [domain NAME]")
            }
        }
    }

    private static func suffix(of section: String, _ prefix: String) -> String? {
        guard section.hasPrefix(prefix) else { return nil }
        return String(section.dropFirst(prefix.count))
    }

    private static func check(_ file: KeyFile, _ section: String, _ known: Set<String>) throws {
        for key in file.keys(of: section) where !known.contains(key) {
            let names = known.sorted().joined(separator: ", ")
            throw ConfigurationError(file.path, "[\(section)] \(key) is unknown; there are \(names)")
        }
    }

    private static func readNode(_ file: KeyFile, _ node: inout NodeConfiguration) throws {
        let section = "node"
        for text in try file.strings("listen", in: section) {
            guard let address = ListenAddress(tcp: text) else {
                throw ConfigurationError(file.path, "[node] listen: '\(text)' is not HOST:PORT")
            }
            node.listen.append(address)
        }
        node.listen += try file.strings("socket", in: section).map { .unix(path: $0) }
        for text in try file.strings("vsock", in: section) {
            guard let port = UInt32(text) else {
                throw ConfigurationError(file.path, "[node] vsock: '\(text)' is not a port")
            }
            node.listen.append(.vsock(port: port))
        }
        if let text = try file.string("peer-listen", in: section) {
            node.peerListen = try peerAddress(text, file, "peer-listen")
        }
        node.images = try file.string("images", in: section) ?? node.images
        node.memoryDirectory = try file.string("memory-dir", in: section) ?? node.memoryDirectory
        if let writes = try file.string("incoming-writes", in: section) {
            guard ["wait", "refuse"].contains(writes) else {
                throw ConfigurationError(file.path, "incoming-writes in [\(section)] is wait or refuse, not \(writes)")
            }
            node.refusesEarlyWrites = writes == "refuse"
        }
        node.index = try file.string("index", in: section) ?? node.index
        if let text = try file.string("keep-index", in: section) {
            node.keepIndex = .seconds(try value(text, of: "keep-index", in: file, TimeSpan.interval).seconds)
        }
        node.targets.standard = try readTargets(file, section) ?? node.targets.standard
        try readPermissions(file, &node)
        node.state = try file.string("state", in: section) ?? node.state
        node.control = try file.string("control", in: section) ?? node.control
        try readTLS(file, &node)
        node.peerTLS = try file.string("peer-tls", in: section)
        node.allowsInsecurePeers = try file.boolean("insecure-peer", in: section)
        guard node.peerTLS == nil || !node.allowsInsecurePeers else {
            throw ConfigurationError(file.path, "[node] peer-tls and insecure-peer exclude each other")
        }
    }

    /// - Returns: nil if there is no command that prepares.
    private static func readTargets(_ file: KeyFile, _ section: String) throws -> TargetCommands? {
        func words(_ key: String) throws -> [String]? {
            try file.string(key, in: section).map { text in
                do { return try CommandWords(text).words } catch {
                    throw ConfigurationError(file.path, "[\(section)] \(key): '\(text)' is invalid: \(error)")
                }
            }
        }
        let release = try words("release")
        guard let prepare = try words("prepare") else {
            guard release == nil else { throw ConfigurationError(file.path, "[\(section)] release needs prepare") }
            return nil
        }
        return TargetCommands(prepare: prepare, release: release)
    }

    private static func readPermissions(_ file: KeyFile, _ node: inout NodeConfiguration) throws {
        func read<Value>(_ key: String, _ parse: (String) throws -> Value) throws -> Value? {
            try file.string(key, in: "node").map { try value($0, of: key, in: file, parse) }
        }
        node.imagePermissions = FilePermissions(
            mode: try read("image-mode", FileMode.ofImage)?.bits, group: try read("image-group", GroupName.init)?.number
        )
        node.socketPermissions = FilePermissions(
            mode: try read("socket-mode", FileMode.init)?.bits, group: try read("socket-group", GroupName.init)?.number)
    }

    /// - Throws: `ConfigurationError` with the message of `parse`.
    private static func value<Value>(
        _ text: String, of key: String, in file: KeyFile, _ parse: (String) throws -> Value
    ) throws -> Value {
        do { return try parse(text) } catch {
            throw ConfigurationError(file.path, "[node] \(key): '\(text)' is invalid: \(error)")
        }
    }

    private static func readTLS(_ file: KeyFile, _ node: inout NodeConfiguration) throws {
        let section = "node"
        let text = try file.string("tls-mode", in: section) ?? TLSConfiguration.Mode.required.rawValue
        guard let mode = TLSConfiguration.Mode(rawValue: text) else {
            throw ConfigurationError(file.path, "[node] tls-mode is off, optional or required, not '\(text)'")
        }
        let verifiesClients = try file.boolean("tls-verify-client", in: section)
        if let directory = try file.string("tls", in: section) {
            node.tls = TLSConfiguration(directory: directory, mode: mode, verifiesClients: verifiesClients)
            return
        }
        // Never serve in plaintext because of a missing key what the file wants encrypted.
        for key in ["tls-mode", "tls-verify-client"] where file.keys(of: section).contains(key) && mode != .off {
            throw ConfigurationError(file.path, "[node] \(key) needs tls, the directory of the certificates")
        }
    }

    private static func peerAddress(_ text: String, _ file: KeyFile, _ key: String) throws -> PeerAddress {
        guard let address = PeerAddress(text) else {
            throw ConfigurationError(file.path, "[node] \(key): '\(text)' is not HOST:PORT")
        }
        return address
    }

    private static func readExport(_ file: KeyFile, _ section: String, _ name: String) throws -> ExportConfiguration {
        guard let image = try file.string("image", in: section), !image.isEmpty else {
            throw ConfigurationError(file.path, "[\(section)] has no image")
        }
        let bitmap = try file.string("dirty-bitmap", in: section)
        if let problem = bitmap.flatMap(ExportConfiguration.problem(withBitmap:)) {
            throw ConfigurationError(file.path, "[\(section)] dirty-bitmap: \(problem)")
        }
        let identity = try file.string("identity", in: section)
        if let problem = identity.flatMap(ExportConfiguration.problem(withIdentity:)) {
            throw ConfigurationError(file.path, "[\(section)] identity: \(problem)")
        }
        var export = ExportConfiguration(
            backing: image, name: name, isReadOnly: try file.boolean("read-only", in: section),
            text: try file.string("description", in: section) ?? "",
            isDirect: try file.boolean("direct", in: section),
            isDefault: try file.boolean("default", in: section),
            // A missing image must not affect the other exports.
            mayBeMissing: true, dirtyBitmap: bitmap, identity: identity)
        export.maximumConnections = try maximumConnections(file, section)
        export.format = try format(file, section)
        export.requiresTLS = try requiresTLS(file, section)
        return export
    }

    private static func format(_ file: KeyFile, _ section: String) throws -> String? {
        guard let format = try file.string("format", in: section) else { return nil }
        if let problem = ExportConfiguration.problem(withFormat: format) {
            throw ConfigurationError(file.path, "[\(section)] format: \(problem)")
        }
        return format
    }

    private static func maximumConnections(_ file: KeyFile, _ section: String) throws -> Int? {
        guard let count = try file.integer("max-connections", in: section) else { return nil }
        guard count > 0 else {
            throw ConfigurationError(file.path, "[\(section)] max-connections: give 1 or more, or leave the key out")
        }
        return Int(count)
    }

    private static func requiresTLS(_ file: KeyFile, _ section: String) throws -> Bool {
        guard let text = try file.string("tls", in: section) else { return false }
        guard text == TLSConfiguration.Mode.required.rawValue else {
            throw ConfigurationError(
                file.path,
                "[\(section)] tls: the only value is 'required', not '\(text)'; without the key, tls-mode holds")
        }
        return true
    }
}
