import Migration
import Peer
import PeerModel

/// Choosing one of several destinations.
extension Node {
    /// Destinations that are asked at once: each reads the disks.
    private static let asked = 4

    /// Asks each destination of a command what it has of the disks, and chooses the one to which least would cross.
    /// - Returns: The command for that destination.
    /// - Throws: `NodeError` if the command is wrong; `NoDestination` if none takes the disks.
    func place(_ command: MigrateCommand) async throws -> (MigrateCommand, Placement) {
        let placement = try await ask(command).placement
        logger.notice("\(command.exports.joined(separator: ", ")): \(placement.line { "\($0) bytes" })")
        return (command.to(placement.chosen), placement)
    }

    /// Estimates a migration; to several destinations, the one that would be chosen comes first.
    func estimates(_ command: MigrateCommand) async throws -> ([MigrationEstimate], Placement?) {
        guard command.others?.isEmpty == false else { return (try await estimate(command), nil) }
        let answers = try await ask(command)
        return (answers.estimates, answers.placement)
    }

    private func ask(_ command: MigrateCommand) async throws -> (estimates: [MigrationEstimate], placement: Placement) {
        try command.validate()
        for name in command.exports { _ = try find(name) }
        let destinations = command.destinations
        let results = await withTaskGroup(of: (Int, Result<[MigrationEstimate], any Error>).self) { tasks in
            var results: [Int: Result<[MigrationEstimate], any Error>] = [:]
            for (number, destination) in destinations.enumerated() {
                if number >= Self.asked, let (done, result) = await tasks.next() { results[done] = result }
                tasks.addTask {
                    do { return (number, .success(try await self.estimate(command.to(destination)))) } catch {
                        return (number, .failure(error))
                    }
                }
            }
            for await (done, result) in tasks { results[done] = result }
            return results
        }
        try Task.checkCancellation()
        return try Self.choose(destinations.enumerated().map { ($1, results[$0]!) })
    }

    private static func choose(
        _ results: [(destination: PeerAddress, result: Result<[MigrationEstimate], any Error>)]
    ) throws -> (estimates: [MigrationEstimate], placement: Placement) {
        var estimates: [PeerAddress: [MigrationEstimate]] = [:]
        var reasons: [(destination: PeerAddress, error: any Error)] = []
        let answers = results.map { destination, result in
            switch result {
            case .success(let found):
                estimates[destination] = found
                let wire = found.reduce(0 as UInt64) { $0 &+ $1.wire.total }
                return Placement.Answer(destination: destination, wire: wire, problem: nil)
            case .failure(let error):
                reasons.append((destination, error))
                return Placement.Answer(destination: destination, wire: nil, problem: error.plainReason)
            }
        }
        guard let placement = Placement.best(of: answers) else { throw NoDestination(reasons: reasons) }
        let chosen = placement.chosen
        let order = answers.filter { $0.wire != nil }.sorted {
            ($0.destination == chosen ? 0 : 1, $0.wire!) < ($1.destination == chosen ? 0 : 1, $1.wire!)
        }
        let ordered = order.flatMap { answer in
            (estimates[answer.destination] ?? []).map { estimate in
                var estimate = estimate
                estimate.to = answer.destination.description
                return estimate
            }
        }
        return (ordered, placement)
    }
}
