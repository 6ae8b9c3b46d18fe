/// Tells a client that lists many exports over a slow link from one that only occupies a connection.
///
/// 1. Call `hasStalled` at equal intervals while the client negotiates.
/// 2. Disconnect the client once it returns true.
struct HandshakePace {
    /// The least progress in an interval: a client with a round trip of 3 s still sends so many options in
    /// `ServerLimits.handshake` seconds.
    private static let leastOptions = 8

    private var options = 0
    private var portions = 0
    private var isLate = false

    /// Compares the client's progress with that at the last call. The first interval may have begun before the client
    /// came, so a client without progress gets one more.
    /// - Parameters:
    ///   - options: options answered without an error so far.
    ///   - portions: portions of the server's answers that the client has made room for so far; the greeting is one.
    /// - Returns: whether the client has made no progress for a whole interval.
    mutating func hasStalled(options: Int, portions: Int) -> Bool {
        // A long list is one option, and many portions with many answers each.
        let hasMoved = options - self.options >= Self.leastOptions || portions - self.portions >= Self.leastOptions
        guard hasMoved else {
            defer { isLate = true }
            return isLate
        }
        self.options = options
        self.portions = portions
        isLate = false
        return false
    }
}
