/// Limits for reading and hashing an image.
public struct BuildOptions: Sendable {
    /// Threads that hash; at least 1.
    public var threads: Int
    /// Bytes read a second, at most; more than 0. Nil sets no limit.
    public var bytesPerSecond: Double?
    /// Asked at least for each MiB that is read, on any thread; once it returns false, the work ends with
    /// `CancellationError`.
    public var isWanted: @Sendable () -> Bool = { true }

    /// - Parameters:
    ///   - threads: raised to 1 if it is less.
    ///   - bytesPerSecond: more than 0, or nil for no limit.
    public init(threads: Int, bytesPerSecond: Double? = nil) {
        self.threads = max(1, threads)
        self.bytesPerSecond = bytesPerSecond
    }
}
