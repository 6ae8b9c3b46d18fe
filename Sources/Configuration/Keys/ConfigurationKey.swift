/// A key of a configuration file. The parser, its messages, `nearblock check` and docs/configuration.md come from these.
struct ConfigurationKey<Settings>: Sendable {
    let name: String
    /// Description of the values that are allowed.
    let form: String
    /// Meaning of a file without the key.
    let absent: String
    /// A value that is allowed, for the reference.
    let example: String
    /// One sentence for the reference.
    let summary: String
    private let apply: @Sendable (KeyFile, String, inout Settings) throws -> Void

    /// - Parameter set: Stores a value of that kind in the settings.
    init<Value>(
        _ name: String, _ kind: ValueKind<Value>, absent: String, example: String, _ summary: String,
        set: @escaping @Sendable (inout Settings, Value) -> Void
    ) {
        self.name = name
        form = kind.form
        self.absent = absent
        self.example = example
        self.summary = summary
        apply = { [name] file, section, settings in set(&settings, try kind.read(file, name, section)) }
    }

    /// Reads the value of the key, which must be there, into the settings.
    /// - Throws: `ConfigurationError`.
    func read(_ file: KeyFile, _ section: String, into settings: inout Settings) throws {
        try apply(file, section, &settings)
    }
}
