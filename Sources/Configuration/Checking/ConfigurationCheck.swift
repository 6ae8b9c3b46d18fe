import Block
import Daemon
import NBDServer
import Peer
import TLS

/// Finds every mistake in a configuration file, and in what it names, without starting anything.
public struct ConfigurationCheck {
    /// All findings, in the order in which they were looked for.
    public private(set) var findings: [ConfigurationFinding] = []
    /// The configuration, as far as it can be read; nil if nothing of the file can.
    public private(set) var node: NodeConfiguration?

    /// Reads a file. Blocks the thread.
    /// - Parameters:
    ///   - looksAtFiles: Whether images, directories, certificates and host names are looked at too, as this process's user.
    ///   - empty: The configuration of a node without options.
    public init(path: String, looksAtFiles: Bool, onto empty: NodeConfiguration) {
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
        checkTogether(node, file)
        if looksAtFiles { check(FilesOfNode(node: node, file: file).problems()) }
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
