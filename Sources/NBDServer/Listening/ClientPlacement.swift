/// The loops that serve clients. Each new client comes to the next loop in turn.
package enum ClientPlacement: Sendable {
    /// Clients move to other loops by the load of these (`LoopSharing`).
    case byLoad
    /// Clients stay where they come.
    case inTurn
}
