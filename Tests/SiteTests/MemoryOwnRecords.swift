import NIOConcurrencyHelpers

@testable import Site

/// A node's own records of one disk, in memory.
final class MemoryOwnRecords: OwnDiskRecords {
    struct State {
        var departure: String?
        var gap: String?
        var hasRequest = false
        /// Whether no record can be read or removed.
        var fails = false
    }

    let state = NIOLockedValueBox(State())

    private func look<Value>(_ body: (inout State) -> Value) throws -> Value {
        try state.withLockedValue { state in
            if state.fails { throw MemoryRecords.Away() }
            return body(&state)
        }
    }

    func departure() throws -> String? { try look { $0.departure } }

    func gap() throws -> String? { try look { $0.gap } }

    func dropRequests() throws { try look { $0.hasRequest = false } }
}
