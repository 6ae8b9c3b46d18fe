import MigrationProtocol
import NIOConcurrencyHelpers
import Peer

extension PeerConnection {
    /// Performs `body`, which waits for the peer's messages, while `companions` run beside it. They are cancelled when it ends.
    ///
    /// A companion that fails tells the peer, and ends the connection: `body` would otherwise wait for a peer that has
    /// nothing more to say.
    /// - Parameter farewell: makes the last message from a reason.
    /// - Throws: the error of the companion that failed first, or that of `body`.
    func perform<Result>(
        beside companions: [@Sendable () async throws -> Void], farewell: @escaping @Sendable (String) -> Message,
        _ body: () async throws -> Result
    ) async throws -> Result {
        let failure = NIOLockedValueBox((any Error)?.none)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            for companion in companions {
                group.addTask { [self] in
                    do { try await companion() } catch is CancellationError {} catch {
                        let isFirst = failure.withLockedValue { first in
                            defer { first = first ?? error }
                            return first == nil
                        }
                        guard isFirst else { return }
                        try? await send(farewell(DestinationContext.reason(error)).encoded())
                        end()
                    }
                }
            }
            defer { group.cancelAll() }
            do { return try await body() } catch { throw failure.withLockedValue { $0 } ?? error }
        }
    }
}
