/// One row of the reference of configuration files.
public struct KeyReference: Sendable {
    /// `node`, `export NAME` or `domain NAME`.
    public let section: String
    /// The key.
    public let name: String
    /// Description of the values that are allowed.
    public let form: String
    /// Meaning of a file without the key.
    public let absent: String
    /// A value that is allowed.
    public let example: String
    /// One sentence.
    public let summary: String

    /// All keys of nearblock's configuration file, by section and in the order of the reference.
    public static let all =
        NodeKeys.all.map { KeyReference("node", $0) } + ExportKeys.all.map { KeyReference("export NAME", $0) }
        + DomainKeys.all.map { KeyReference("domain NAME", $0) }

    private init<Settings>(_ section: String, _ key: ConfigurationKey<Settings>) {
        self.section = section
        name = key.name
        form = key.form
        absent = key.absent
        example = key.example
        summary = key.summary
    }

    /// The key in docs/configuration.md.
    public var markdown: String {
        "| `\(name)` | \(summary) | \(form) | \(absent) | `\(name) = \(example)` |"
    }
}
