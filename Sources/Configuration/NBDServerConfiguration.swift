import Daemon
import Foundation
import NBDServer
import TLS

/// Reads an unchanged configuration of nbd-server(1); nbd-server(5) describes it.
///
/// Each setting that nearblock does not support gives one warning. An export that can't be served as its section says,
/// or not as safely, is left out.
public struct NBDServerConfiguration {
    private static let standardPort: UInt16 = 10809
    private static let understood: Set = [
        "exportname", "readonly", "rotational", "sync", "flush", "fua", "trim", "virtstyle", "cowdir", "sparse_cow",
        "maxconnections", "filesize",
        // These affect only how nbd-server works, or nbd-server ignores them too.
        "splice", "listenaddr",
    ]
    /// Exports with these are left out. Without them, clients would get other data or unauthorised access, or commands
    /// and write logs would silently be missing.
    private static let essential: Set = [
        "copyonwrite", "multifile", "treefiles", "temporary", "sdp", "waitfile", "datalog", "authfile", "prerun",
        "postrun",
    ]
    /// These mark an export for clients with TLS only.
    private static let encryption: Set = ["force_tls", "tlsonly"]
    private static let understoodGenerally: Set = [
        "listenaddr", "port", "unixsock", "duallisten", "allowlist", "includedir", "certfile", "keyfile", "cacertfile",
        "force_tls",
        // These affect only how nbd-server works.
        "max_threads", "splice",
    ]

    /// Settings without effect, and exports that are left out; one line each.
    public private(set) var warnings: [String] = []
    private let path: String
    private var requiresTLS = false
    private var hasTLS = false
    /// File and line of each export that has been read.
    private var places: [String: (path: String, line: Int)] = [:]

    /// Reads a file into `node`.
    /// - Returns: Warnings, one line each.
    /// - Throws: `ConfigurationError` if the file can't be read, or no export of it can be served.
    public static func read(_ path: String, into node: inout NodeConfiguration) throws -> [String] {
        var reader = NBDServerConfiguration(path: path)
        try reader.read(into: &node)
        return reader.warnings
    }

    private init(path: String) {
        self.path = path
    }

    private mutating func read(into node: inout NodeConfiguration) throws {
        let file = try KeyFile(path: path)
        guard file.sections.first == "generic" else {
            throw ConfigurationError(path, "the first section must be [generic]")
        }
        try readGeneric(file, &node)
        for section in file.sections.dropFirst() { try readExport(file, section, &node) }
        if let directory = try file.string("includedir", in: "generic") {
            for included in try Self.includedFiles(directory, path) {
                let file = try KeyFile(path: included)
                for section in file.sections { try readExport(file, section, &node) }
            }
        }
        guard !node.exports.isEmpty else { throw ConfigurationError(path, "there is no export that can be served") }
    }

    private static func includedFiles(_ directory: String, _ path: String) throws -> [String] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: directory) else {
            throw ConfigurationError(path, "[generic] includedir: \(directory) can't be read as a directory")
        }
        return names.filter { $0.hasSuffix(".conf") }.sorted().map { "\(directory)/\($0)" }
    }

    // MARK: [generic]

    private mutating func readGeneric(_ file: KeyFile, _ node: inout NodeConfiguration) throws {
        let section = "generic"
        for key in file.keys(of: section) where !Self.understoodGenerally.contains(key) {
            warn(file, section: section, key: key, "is not supported and has no effect")
        }
        node.listsExports = try file.boolean("allowlist", in: section)
        try readAddresses(file, &node)
        requiresTLS = try file.boolean("force_tls", in: section)
        guard let key = try file.string("keyfile", in: section) else {
            // Never serve in plaintext because of a missing key what the file wants encrypted.
            guard !requiresTLS else { throw ConfigurationError(path, "[generic] force_tls needs a keyfile") }
            for key in ["certfile", "cacertfile"] where file.keys(of: section).contains(key) {
                warn(file, section: section, key: key, "has no effect without a keyfile")
            }
            return
        }
        let certificate = try file.string("certfile", in: section) ?? key
        let authority = try file.string("cacertfile", in: section)
        hasTLS = true
        node.tls = TLSConfiguration(
            files: TLSFiles(certificate: certificate, key: key, authority: authority),
            mode: requiresTLS ? .required : .optional,
            verifiesClients: authority != nil)
        guard authority != nil, !requiresTLS else { return }
        node.tls?.letsUnverifiedIn = true
        warn(
            file, section: section, key: "cacertfile",
            "does not keep out clients without TLS, except from exports with force_tls; set force_tls in [generic]")
    }

    private func readAddresses(_ file: KeyFile, _ node: inout NodeConfiguration) throws {
        let section = "generic"
        let text = try file.string("port", in: section)
        guard let port = text.map(ServicePort.number) ?? Self.standardPort else {
            throw ConfigurationError(
                path, "[generic] port: '\(text ?? "")' is neither a port number nor the name of a service")
        }
        let socket = try file.string("unixsock", in: section)
        if let socket { node.listen.append(.unix(path: socket)) }
        guard try socket == nil || file.boolean("duallisten", in: section) else { return }
        guard let hosts = try file.string("listenaddr", in: section) else {
            // An empty host listens on all addresses of all families.
            return node.listen.append(.tcp(host: "", port: port))
        }
        for host in hosts.split(separator: ",") {
            node.listen.append(.tcp(host: host.trimmingCharacters(in: .whitespaces), port: port))
        }
    }

    // MARK: Exports

    private mutating func readExport(_ file: KeyFile, _ section: String, _ node: inout NodeConfiguration) throws {
        try checkIsNew(file, section)
        guard let image = try file.string("exportname", in: section) else {
            warnings.append("\(file.path): [\(section)] has no exportname and is left out")
            return
        }
        guard try isServable(file, section, image) else { return }
        for key in file.keys(of: section) where !isKnown(key) {
            warn(file, section: section, key: key, "is not supported and has no effect")
        }
        var export = ExportConfiguration(
            backing: image, name: section, isReadOnly: try file.boolean("readonly", in: section),
            isRotational: try file.boolean("rotational", in: section) ? true : nil,
            isSynchronous: try file.boolean("sync", in: section),
            // nbd-server opens an image when a client asks for it, so a missing image must not affect the others.
            mayBeMissing: true)
        // In nbd-server's file, 0 means the size of the image, and any number of clients.
        export.size = try file.integer("filesize", in: section).flatMap { $0 == 0 ? nil : UInt64($0) }
        export.maximumConnections = try file.integer("maxconnections", in: section).flatMap { $0 == 0 ? nil : Int($0) }
        export.requiresTLS = try isForTLSOnly(file, section)
        node.exports.append(export)
    }

    /// nbd-server would serve the first of two exports with one name to some clients, and the last to others.
    private mutating func checkIsNew(_ file: KeyFile, _ section: String) throws {
        let line = file.sectionLines[section] ?? 0
        if let before = places[section] {
            throw ConfigurationError(
                file.path,
                "[\(section)] is on line \(line), and on line \(before.line) of \(before.path); keep one of them")
        }
        places[section] = (file.path, line)
    }

    private func isKnown(_ key: String) -> Bool {
        [Self.understood, Self.essential, Self.encryption].contains { $0.contains(key) }
    }

    private func isForTLSOnly(_ file: KeyFile, _ section: String) throws -> Bool {
        try Self.encryption.contains { try file.boolean($0, in: section) }
    }

    private mutating func isServable(_ file: KeyFile, _ section: String, _ image: String) throws -> Bool {
        for key in file.keys(of: section) where Self.encryption.contains(key) && !hasTLS {
            guard try file.boolean(key, in: section) else { continue }
            warn(file, section: section, key: key, "needs a keyfile in [generic]; the export is left out")
            return false
        }
        for key in file.keys(of: section) where try isUnsupported(file, section, key) {
            warn(file, section: section, key: key, "is not supported; the export is left out")
            return false
        }
        for key in ["filesize", "maxconnections"] where try file.integer(key, in: section) ?? 0 < 0 {
            warn(file, section: section, key: key, "must not be negative; the export is left out")
            return false
        }
        guard !image.contains("%s") else {
            warn(file, section: section, key: "exportname", "with %s is not supported; the export is left out")
            return false
        }
        return true
    }

    /// A value of `false`, 0 or nothing turns a setting off.
    private func isUnsupported(_ file: KeyFile, _ section: String, _ key: String) throws -> Bool {
        guard Self.essential.contains(key), let value = try file.string(key, in: section) else { return false }
        return !["", "0", "false"].contains(value.trimmingWhitespace)
    }

    private mutating func warn(_ file: KeyFile, section: String, key: String, _ what: String) {
        warnings.append("\(file.path): [\(section)] \(key) \(what)")
    }
}
