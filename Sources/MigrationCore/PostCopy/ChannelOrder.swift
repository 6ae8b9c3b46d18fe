import MigrationProtocol

/// Decides whether a channel that has come up still is up when its listener hears of it.
///
/// Connections come and go while a new listener hears of the channels that are up. It may hear of an end first. A late
/// beginning would then be taken for a channel that carries messages.
package struct ChannelOrder: Sendable {
    /// The newest turn of each channel that has ended.
    private var ended: [PostCopyChannel: UInt64] = [:]

    package init() {}

    /// A connection carries a channel, as far as the listener has heard.
    /// - Parameter turn: ascends from one connection of a channel to the next.
    /// - Returns: whether it still does; if not, nothing is to be done.
    package func isUp(_ turn: UInt64, of channel: PostCopyChannel) -> Bool { ended[channel].map { $0 < turn } ?? true }

    /// A connection does not carry a channel any more.
    package mutating func down(_ turn: UInt64, of channel: PostCopyChannel) {
        ended[channel] = max(turn, ended[channel] ?? 0)
    }
}
