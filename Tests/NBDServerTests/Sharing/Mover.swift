import Synchronization

@testable import NBDServer

/// Moves every session of a server to the next loop, again and again.
final class Mover: Sendable {
    private let server: Server
    private let isOver = Atomic<Bool>(false)

    private init(_ server: Server) { self.server = server }

    /// Moves sessions while `body` runs.
    /// - Returns: how often a session has moved.
    static func run(_ server: Server, _ body: () async throws -> Void) async throws -> Int {
        let mover = Mover(server)
        defer { mover.isOver.store(true, ordering: .relaxed) }
        for index in server.loops.indices { mover.post(at: index) }
        let before = server.gate.count
        try await body()
        return server.gate.count - before
    }

    private func post(at index: Int) {
        server.loops[index].loop.post { [self] in
            guard !isOver.load(ordering: .relaxed) else { return }
            Self.mark(server, index)
            post(at: index)
        }
    }

    /// Marks all sessions of a loop to move to the next one; on the loop's thread.
    static func mark(_ server: Server, _ index: Int, to target: Int? = nil) {
        let target = server.loops[target ?? (index + 1) % server.loops.count]
        for session in server.loops[index].sessions.values where session.pendingMove == nil {
            session.move(SessionMove(target: target, deadline: .max))
        }
    }
}
