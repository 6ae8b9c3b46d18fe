import Block
import Daemon
import NBDServer
import Peer
import TLS

/// Finds every mistake in a configuration file, and in what it names, without starting anything.
public struct ConfigurationCheck {
    /// More lines than these hide the first ones.
    private static let mostShown = 100

    /// All findings, in the order in which they were looked for.
    public private(set) var findings: [ConfigurationFinding] = []
    /// The configuration, as far as it can be read; nil if nothing of the file can.
    public private(set) var node: NodeConfiguration?

    /// Reads a file. Blocks the thread.
    /// - Parameters:
    ///   - looksAtFiles: Whether images, directories, certificates and host names are looked at too, as this process's user.
    ///   - empty: The configuration of a node without options.
    ///   - service: The service that runs the node, whose sockets and directories count; nil if there is none.
    public init(path: String, looksAtFiles: Bool, onto empty: NodeConfiguration, service: ServiceUnit? = nil) {
        var empty = empty
        service?.apply(to: &empty)
        var mistakes: [ConfigurationError] = []
        var file: KeyFile?
        do {
            let read = try ConfigurationFile.read(path, onto: empty, mistakes: &mistakes)
            (file, node) = (read.file, read.node)
        } catch {
            mistakes.append(error as? ConfigurationError ?? ConfigurationError(path, "\(error)"))
        }
        findings = mistakes.map(ConfigurationFinding.init(mistake:))
        guard let file, let node else { return }
        checkTogether(Self.completed(node, by: service), file)
        if let service { checkSockets(of: service, node, file) }
        if looksAtFiles { check(FilesOfNode(node: node, file: file, service: service).problems()) }
    }

    /// The findings that people read at once, in their order.
    /// - Returns: At most 100, and the number of the others.
    public var shown: (findings: ArraySlice<ConfigurationFinding>, others: Int) {
        (findings.prefix(Self.mostShown), max(0, findings.count - Self.mostShown))
    }

    /// The configuration with the sockets that systemd opens for the node.
    private static func completed(_ node: NodeConfiguration, by service: ServiceUnit?) -> NodeConfiguration {
        guard let service else { return node }
        var node = node
        node.peerListen = service.peerAddress ?? node.peerListen
        node.listen += service.sockets.filter { !$0.isForPeers }.flatMap(\.addresses)
        return node
    }

    /// A node listens on its own addresses beside those of systemd; only `peer-listen` gives way.
    private mutating func checkSockets(of service: ServiceUnit, _ node: NodeConfiguration, _ file: KeyFile) {
        for address in node.listen {
            guard let socket = service.sockets.first(where: { $0.takes(address) }) else { continue }
            let key = if case .unix = address { "socket" } else { "listen" }
            mistake(
                file.mistake(": \(socket.unit) listens on \(address) already; leave it out here", key, in: "node"))
        }
    }

    /// Whether a node can use the file.
    public var isUsable: Bool { !findings.contains(where: \.isMistake) }

    private mutating func check(_ problems: [FilesOfNode.Problem]) {
        findings += problems.map {
            $0.isMistake ? ConfigurationFinding(mistake: $0.error) : ConfigurationFinding(warning: $0.error)
        }
    }

    private mutating func mistake(_ error: ConfigurationError) {
        findings.append(ConfigurationFinding(mistake: error))
    }

    /// A fault that an option of the command line could mend.
    private mutating func warn(_ error: ConfigurationError) {
        findings.append(ConfigurationFinding(warning: error))
    }

    /// A comment behind a value is a part of it, which only a description may want.
    private mutating func warnOfComments(in file: KeyFile) {
        for section in file.sections {
            for key in file.keys(of: section) where key != "description" {
                guard file.rawValue(key, in: section)?.contains(" #") == true else { continue }
                warn(
                    file.mistake(
                        ": everything behind the = is the value, the # too; move a comment to a line of its own", key,
                        in: section))
            }
        }
    }

    private mutating func checkTogether(_ node: NodeConfiguration, _ file: KeyFile) {
        func needs(_ key: String, _ other: String, _ option: String) -> ConfigurationError {
            file.mistake(" needs \(other), here or as \(option)", key, in: "node")
        }
        if node.keepIndex != nil, node.index == nil { warn(needs("keep-index", "index", "--index DIR")) }
        if node.peerListen != nil, node.images == nil { warn(needs("peer-listen", "images", "--images DIR")) }
        if node.site.store != nil, node.index == nil { warn(needs("site", "index", "--index DIR")) }
        if node.site.store != nil, node.peerListen == nil {
            warn(needs("site", "peer-listen", "--peer-listen HOST:PORT"))
        }
        if node.memoryDirectory != nil, node.peerListen == nil {
            warn(needs("memory-dir", "peer-listen", "--peer-listen HOST:PORT"))
        }
        if let address = node.peerListen, !address.isLoopback, !node.allowsInsecurePeers, node.peerTLS == nil,
            node.tls == nil
        {
            warn(
                file.mistake(
                    ": without TLS only loopback addresses are possible; add peer-tls = DIR", "peer-listen", in: "node")
            )
        }
        if let problem = node.plaintextProblem { warn(file.mistake(": \(problem)", "listen", in: "node")) }
        if node.exports.isEmpty, node.peerListen == nil {
            warn(
                ConfigurationError(
                    file.path, "there is nothing to serve: add [export NAME] with image = PATH, or peer-listen"))
        }
        warnOfComments(in: file)
        let encrypted = file.sections.contains("node") ? "node" : node.exports.first.map(ConfigurationFile.section(of:))
        do { try node.checkEncryption() } catch {
            mistake(file.mistake("\(error)", in: encrypted ?? "node"))
        }
        for export in node.exports {
            if let problem = export.stringProblem {
                mistake(file.mistake(problem, in: ConfigurationFile.section(of: export)))
            }
        }
        for export in node.exports.filter(\.isDefault).dropFirst() {
            let section = ConfigurationFile.section(of: export)
            mistake(file.mistake(": another export is the default already; keep one", "default", in: section))
        }
    }
}
