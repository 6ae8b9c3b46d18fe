import MigrationProtocol

/// Decides which connection carries each channel of a disk at the destination: one at a time.
///
/// A connection that comes while another one carries its channel waits until that one is closed and has ended. Nothing
/// of an old connection may be processed once a new one is up. Waiting connections get their turns in the order in
/// which they came, so that the newest stays.
package struct ChannelTurns: Sendable {
    /// Work for the driver; connections go by the numbers that it gives them.
    package enum Action: Equatable, Sendable {
        /// Close a connection; `ended` follows once nothing of it is under way.
        case close(UInt64)
        /// A connection carries its channel from now on.
        case begin(UInt64)
    }

    private struct Turns {
        var current: UInt64
        var waiting: [UInt64] = []
    }

    private var channels: [PostCopyChannel: Turns] = [:]

    package init() {}

    /// The connections that carry a channel.
    package var current: [UInt64] { channels.values.map(\.current) }

    /// A connection is to carry a channel.
    /// - Parameter connection: a number that was never used before.
    package mutating func came(_ connection: UInt64, for channel: PostCopyChannel) -> [Action] {
        guard let current = channels[channel]?.current else {
            channels[channel] = Turns(current: connection)
            return [.begin(connection)]
        }
        channels[channel]!.waiting.append(connection)
        return [.close(current)]
    }

    /// The connection that carries a channel has ended.
    package mutating func ended(_ connection: UInt64, of channel: PostCopyChannel) -> [Action] {
        guard var turns = channels[channel], turns.current == connection else {
            preconditionFailure("connection \(connection) does not carry the channel")
        }
        guard !turns.waiting.isEmpty else {
            channels[channel] = nil
            return []
        }
        turns.current = turns.waiting.removeFirst()
        channels[channel] = turns
        return [.begin(turns.current)] + (turns.waiting.isEmpty ? [] : [.close(turns.current)])
    }
}
