/// A mistake in a configuration file.
public struct ConfigurationError: Error, CustomStringConvertible {
    /// The file.
    public let path: String
    /// Line of the mistake, from 1; nil if it is the file as a whole, or something that is not there.
    public let line: Int?
    /// Section, key, fault and remedy, in one line.
    public let problem: String

    init(_ path: String, line: Int? = nil, _ problem: String) {
        self.path = path
        self.line = line
        self.problem = problem
    }

    /// Message for the user, in one line that begins with `FILE:LINE:` as a compiler's does.
    public var description: String { line.map { "\(path):\($0): \(problem)" } ?? "\(path): \(problem)" }

    /// The same mistake, with the number of those that come after it.
    func followed(by others: Int) -> ConfigurationError {
        guard others > 0 else { return self }
        let what = others == 1 ? "another mistake" : "\(others) more mistakes"
        return ConfigurationError(
            path, line: line, "\(problem) (and \(what), which nearblock check \(path) names)")
    }

    /// The same with a word in front of the problem.
    func marked(_ word: String) -> ConfigurationError { ConfigurationError(path, line: line, word + problem) }
}
