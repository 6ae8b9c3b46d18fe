import Foundation

/// Polls until `condition` holds; the test fails if it does not in time.
package func waitUntil(_ what: String, _ condition: () async throws -> Bool) async throws {
    let limit = Date(timeIntervalSinceNow: 60)
    while try await !condition() {
        guard Date() < limit else { throw WaitedInVain(until: what) }
        try await Task.sleep(for: .milliseconds(20))
    }
}

private struct WaitedInVain: Error, CustomStringConvertible {
    let until: String

    var description: String { "waited in vain until \(until)" }
}
