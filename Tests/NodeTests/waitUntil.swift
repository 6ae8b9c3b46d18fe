import Foundation

/// Polls; a test that waits in vain fails.
func waitUntil(_ what: String, _ condition: () async throws -> Bool) async throws {
    let limit = Date(timeIntervalSinceNow: 60)
    while try await !condition() {
        guard Date() < limit else { throw NodeProcess.Failure(reason: "waited in vain until \(what)") }
        try await Task.sleep(for: .milliseconds(20))
    }
}
