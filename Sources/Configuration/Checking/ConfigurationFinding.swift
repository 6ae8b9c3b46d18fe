/// A line of `nearblock check` about a configuration file.
public struct ConfigurationFinding: Sendable, CustomStringConvertible {
    /// Whether a node would refuse the file, or something that the file names could not be used. Otherwise the line is a
    /// warning.
    public let isMistake: Bool
    /// The finding, in one line that begins with `FILE:LINE:`.
    public let description: String

    init(mistake: ConfigurationError) {
        isMistake = true
        description = mistake.description
    }

    init(warning: ConfigurationError) {
        isMistake = false
        description = warning.marked("warning: ").description
    }
}
