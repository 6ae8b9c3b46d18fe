import Daemon

/// Reads nearblock's configuration file. `[node]` has options of `nearblock serve`, and `[export NAME]` a disk. `[domain
/// NAME]` has places of its own for the disks of a domain.
public enum ConfigurationFile {
    private static let exportPrefix = "export "
    private static let domainPrefix = "domain "

    /// Reads a file into `node`; options that the file omits keep their values.
    /// - Throws: `ConfigurationError` with the first mistake, which names the section and the key.
    public static func read(_ path: String, into node: inout NodeConfiguration) throws {
        var mistakes: [ConfigurationError] = []
        let read = try read(path, onto: node, mistakes: &mistakes)
        if let first = mistakes.first { throw first.followed(by: mistakes.count - 1) }
        node = read.node
    }

    /// Reads what can be read of a file, and adds every mistake in it.
    /// - Throws: `ConfigurationError` if nothing of the file can be read.
    static func read(
        _ path: String, onto node: NodeConfiguration, mistakes: inout [ConfigurationError]
    ) throws -> (file: KeyFile, node: NodeConfiguration) {
        let file = try KeyFile(path: path, mistakes: &mistakes)
        var settings = NodeSettings(node: node)
        for section in file.sections {
            if section == "node" {
                read(NodeKeys.all, of: file, section, into: &settings, &mistakes)
                mistakes += settings.complete(file)
            } else if section.hasPrefix(exportPrefix) {
                let name = String(section.dropFirst(exportPrefix.count))
                settings.node.exports.append(readExport(file, section, name, &mistakes))
            } else if section.hasPrefix(domainPrefix) {
                let name = String(section.dropFirst(domainPrefix.count))
                var domain = TargetSettings()
                read(DomainKeys.all, of: file, section, into: &domain, &mistakes)
                if !file.keys(of: section).contains("prepare") {
                    mistakes.append(file.mistake("has no prepare; add prepare = COMMAND", in: section))
                }
                settings.node.targets.domains[name] = domain.commands
            } else {
                mistakes.append(file.mistake(unknownSection(section), in: section))
            }
        }
        return (file, settings.node)
    }

    /// The section of an export.
    static func section(of export: ExportConfiguration) -> String { exportPrefix + export.name }

    private static func readExport(
        _ file: KeyFile, _ section: String, _ name: String, _ mistakes: inout [ConfigurationError]
    ) -> ExportConfiguration {
        // A missing image must not affect the other exports.
        var export = ExportConfiguration(backing: "", name: name, isReadOnly: false, mayBeMissing: true)
        read(ExportKeys.all, of: file, section, into: &export, &mistakes)
        if !file.keys(of: section).contains("image") {
            mistakes.append(file.mistake("has no image; add image = PATH", in: section))
        }
        return export
    }

    private static func read<Settings>(
        _ known: [ConfigurationKey<Settings>], of file: KeyFile, _ section: String, into settings: inout Settings,
        _ mistakes: inout [ConfigurationError]
    ) {
        let present = file.keys(of: section)
        let names = known.map(\.name)
        for key in present where !names.contains(key) {
            mistakes.append(file.mistake(unknown(key, names), key, in: section))
        }
        for key in known where present.contains(key.name) {
            do { try key.read(file, section, into: &settings) } catch {
                mistakes.append(
                    error as? ConfigurationError ?? file.mistake(": \(error)", key.name, in: section))
            }
        }
    }

    private static func unknown(_ key: String, _ names: [String]) -> String {
        let other = KeyReference.all.first { $0.name == key && !names.contains(key) }
        if let other { return " is a key of [\(other.section)]; move it there" }
        if let near = NearestName.find(key, among: names) { return " is unknown; did you mean '\(near)'?" }
        let elsewhere = KeyReference.all.filter { !names.contains($0.name) }
        if let near = NearestName.find(key, among: elsewhere.map(\.name)),
            let other = elsewhere.first(where: { $0.name == near })
        {
            return " is unknown; did you mean '\(near)', a key of [\(other.section)]?"
        }
        return " is unknown; there are \(names.sorted().joined(separator: ", "))"
    }

    private static func unknownSection(_ section: String) -> String {
        let words = section.split(separator: " ", maxSplits: 1).map(String.init)
        let kinds = ["node", "export", "domain"]
        let kind = kinds.first { $0 == words.first } ?? words.first.flatMap { NearestName.find($0, among: kinds) }
        // A name in capitals stands for one that the user has yet to give.
        let meant = kind.map { $0 == "node" ? $0 : "\($0) \(words.count > 1 ? words[1] : "NAME")" }
        let advice = meant.map { "did you mean [\($0)]?" } ?? "sections are [node], [export NAME] and [domain NAME]"
        return "is unknown; \(advice)"
    }
}
