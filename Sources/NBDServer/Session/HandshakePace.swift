/// Tells a client that lists many exports over a slow link from one that only holds a connection.
///
/// 1. Ask `hasStalled` at equal intervals while the client negotiates. 2. Let it go once that is true.
struct HandshakePace {
    /// A client on a link with a round trip of 3 s still sends as many options in `ServerLimits.handshake`.
    private static let leastOptions = 8

    private var options = 0
    private var portions = 0
    private var isLate = false

    /// The first interval may have begun before the client came, so the client has one more.
    /// - Parameters:
    ///   - options: that were answered without an error so far.
    ///   - portions: of the server's answers that the client has made room for so far; the greeting is one.
    /// - Returns: whether the client has led nowhere for a whole interval.
    mutating func hasStalled(options: Int, portions: Int) -> Bool {
        // A long list is one option, and many portions of many answers each.
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
