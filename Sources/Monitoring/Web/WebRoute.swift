/// Makes the answer to a GET of one path.
public struct WebRoute: Sendable {
    /// The path, as in `/metrics`.
    public let path: String
    /// Makes the answer now.
    let answer: @Sendable () async -> WebAnswer

    /// Creates a route.
    public init(_ path: String, answer: @escaping @Sendable () async -> WebAnswer) {
        self.path = path
        self.answer = answer
    }
}
