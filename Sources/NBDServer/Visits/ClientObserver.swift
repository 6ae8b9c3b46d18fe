/// Hears of clients that come, go or are refused. Called on the threads of loops, which must not wait for it.
public protocol ClientObserver: Sendable {
    /// A client has opened an export.
    func opened(_ export: String, by client: ClientAddress, isSecure: Bool)
    /// A client that had opened an export is gone.
    /// - Parameter seconds: time since it opened the export.
    func closed(_ export: String, by client: ClientAddress, _ end: ClientEnd, seconds: Double)
    /// A client that has opened no export was turned away.
    func refused(_ client: ClientAddress, _ refusal: ClientRefusal)
}
