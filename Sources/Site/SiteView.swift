import Index
import NIOConcurrencyHelpers

/// The latest look at a site. Any thread may use it.
package final class SiteView: Sendable {
    private struct State: Sendable {
        var tables: SiteTables?
        var records: [String: HostRecord] = [:]
        var others: [HostRecord] = []
        var figures: SiteFigures?
    }

    private let state = NIOLockedValueBox(State())

    /// The tables of the other hosts that are alive; nil before the first look.
    package var tables: SiteTables? { state.withLockedValue { $0.tables } }

    /// Returns the record of a host; nil if the site has no such host.
    package func record(of host: String) -> HostRecord? { state.withLockedValue { $0.records[host] } }

    /// The records of all hosts, sorted by name.
    package var records: [HostRecord] {
        state.withLockedValue { $0.records.values.sorted { $0.host < $1.host } }
    }

    /// The records of the other hosts that are alive.
    package var others: [HostRecord] { state.withLockedValue { $0.others } }

    /// The site in numbers; nil before the first look.
    package var figures: SiteFigures? { state.withLockedValue { $0.figures } }

    func update(
        _ tables: SiteTables?, _ records: [HostRecord], others: [HostRecord] = [], _ figures: SiteFigures? = nil
    ) {
        state.withLockedValue {
            $0.tables = tables
            $0.others = others
            $0.figures = figures
            $0.records = Dictionary(records.map { ($0.host, $0) }) { first, _ in first }
        }
    }
}
