/// The lease of the host that merges a site's catalogues and removes hosts that are gone. Any thread may use it.
protocol SiteLease: AnyObject, Sendable {
    /// Renews the lease, or takes it where nobody has it or its holder is gone.
    /// - Returns: Whether this host has it now.
    func hold(now: ContinuousClock.Instant) throws -> Bool
    /// Whether this host still has it.
    var isHeld: Bool { get }
    /// Lets another host have it at once.
    func release()
}
