import Logging
import NBDServer
import NIOConcurrencyHelpers

/// Logs the NBD clients that come, go or are refused: one line each, as long as there are not too many. Counts them, too.
///
/// The loops that call it never wait: lines go through a bounded queue to one task. Whatever clients do, lines are few. A
/// client that comes or goes costs one of a budget. Each reason of a refusal is logged once a minute with a count.
final class ClientLog: ClientObserver {
    private struct Line: Sendable {
        let level: Logger.Level
        let message: String
        let values: Logger.Metadata
    }

    private struct State {
        var budget = LineBudget()
        var refusals: [ClientRefusal: RepeatLimit] = [:]
        /// The client that was refused last, by reason.
        var last: [ClientRefusal: ClientAddress] = [:]
    }

    /// Lines that wait to be written; further ones are left out.
    private static let waitingLines = 256

    private let logger: Logger
    private let counts: Bool
    private let lines: AsyncStream<Line>.Continuation
    private let writer: Task<Void, Never>
    private let state = NIOLockedValueBox(State())

    /// - Parameter counts: Whether the metrics of clients are kept.
    init(logger: Logger, counts: Bool) {
        self.logger = logger
        self.counts = counts
        let (stream, lines) = AsyncStream.makeStream(
            of: Line.self, bufferingPolicy: .bufferingOldest(Self.waitingLines))
        self.lines = lines
        writer = Task {
            for await line in stream { logger.log(level: line.level, "\(line.message)", metadata: line.values) }
        }
    }

    /// Writes the lines that wait, and ends.
    func finish() async {
        let pending = state.withLockedValue { state in
            state.refusals.keys.map { ($0, state.last[$0], state.refusals[$0]?.takeOverdue(at: .now) ?? 0) }
        }
        for (refusal, client, count) in pending where count > 0 { logRefusal(client ?? .unknown, refusal, count) }
        lines.finish()
        await writer.value
    }

    /// `ClientObserver`.
    func opened(_ export: String, by client: ClientAddress, isSecure: Bool) {
        if counts { FacadeMetrics.accepted.increment() }
        log("client connected", ["client": "\(client)", "export": "\(export)", "tls": isSecure ? "yes" : "no"])
    }

    /// `ClientObserver`.
    func closed(_ export: String, by client: ClientAddress, _ end: ClientEnd, seconds: Double) {
        let time = (seconds * 1000).rounded() / 1000
        log(
            "client gone: \(Self.text(end))",
            ["client": "\(client)", "export": "\(export)", "reason": "\(end.rawValue)", "seconds": "\(time)"])
    }

    /// `ClientObserver`.
    func refused(_ client: ClientAddress, _ refusal: ClientRefusal) {
        if counts { FacadeMetrics.refused(refusal).increment() }
        // The export's own line has its limit.
        if case .handshake(.full) = refusal { return }
        let verdict = state.withLockedValue { state in
            state.last[refusal] = client
            return state.refusals[refusal, default: RepeatLimit()].decide(at: .now)
        }
        switch verdict {
        case .report(let count): logRefusal(client, refusal, count)
        case .later(let time):
            Task { [weak self] in
                try? await Task.sleep(until: time, clock: .continuous)
                self?.reportOverdue(refusal)
            }
        case .wait: break
        }
    }

    private func reportOverdue(_ refusal: ClientRefusal) {
        let (client, count) = state.withLockedValue { state in
            (state.last[refusal], state.refusals[refusal]?.takeOverdue(at: .now) ?? 0)
        }
        if count > 0 { logRefusal(client ?? .unknown, refusal, count) }
    }

    private func logRefusal(_ client: ClientAddress, _ refusal: ClientRefusal, _ count: UInt64) {
        lines.yield(
            Line(
                level: .warning, message: "client refused: \(Self.text(refusal)); more are told of once a minute",
                values: ["client": "\(client)", "reason": "\(refusal.name)", "count": "\(count)"]))
    }

    private func log(_ message: String, _ values: Logger.Metadata) {
        switch state.withLockedValue({ $0.budget.decide(at: .now) }) {
        case .leaveOut: return
        case .write(let leftOut):
            if leftOut > 0 {
                lines.yield(
                    Line(
                        level: .info, message: "left out lines about clients, because there were too many",
                        values: ["count": "\(leftOut)"]))
            }
            lines.yield(Line(level: .info, message: message, values: values))
        }
    }

    // MARK: Texts

    private static func text(_ end: ClientEnd) -> String {
        switch end {
        case .disconnected: "it has disconnected"
        case .closed: "it has closed the connection without saying so"
        case .lost: "the connection is broken"
        case .malformed: "it broke the protocol"
        case .stalled: "it moved no bytes while others waited"
        case .failedReply: "a reply that had begun failed"
        case .drained: "the node ends, or it has come back over another connection"
        }
    }

    private static func text(_ refusal: ClientRefusal) -> String {
        switch refusal {
        case .serverFull: "the node has its maximum of connections"
        case .handshake(.unknownExport): "there is no such export"
        case .handshake(.unavailable): "the image of the export can't be opened now"
        case .handshake(.needsTLS): "it did not use TLS, which is required"
        case .handshake(.full): "the export has its maximum of clients (max-connections)"
        case .handshake(.malformed): "its handshake breaks the protocol"
        case .ended(.stalled): "it did not finish its handshake in time"
        case .ended: "its handshake or its TLS failed"
        }
    }
}
