/// How an image is read and hashed.
public struct BuildOptions: Sendable {
    /// How many threads hash; at least 1.
    public var threads: Int
    /// At most that many bytes are read each second; nil for as fast as it goes.
    public var bytesPerSecond: Double?

    /// - Parameters:
    ///   - threads: at least 1.
    ///   - bytesPerSecond: more than 0, or nil.
    public init(threads: Int, bytesPerSecond: Double? = nil) {
        self.threads = max(1, threads)
        self.bytesPerSecond = bytesPerSecond
    }
}
