import Daemon

/// A trim that a command waits for.
struct TrimRun {
    let export: String
    let isDryRun: Bool
    var isGuestOff = false
    let node: ControlOption

    /// Trims, and shows the progress on a terminal.
    /// - Throws: As `ControlOption.ask`.
    func run() async throws -> TrimTable {
        defer { Terminal.endProgress() }
        let reply = try await node.ask(.trim(export: export, isDryRun: isDryRun, isGuestOff: isGuestOff ? true : nil)) {
            reply in
            guard case .trimming(let progress) = reply else { return }
            let share = Format.percent(progress.done, of: progress.total).drop { $0 == " " }
            Terminal.progress(["\(share) punched", "\(Format.bytes(progress.done)) of \(Format.bytes(progress.total))"])
        }
        guard case .trimmed(let report) = reply else {
            throw CommandFailure(reason: "the node gave an answer that is no trim's", status: .failed)
        }
        return TrimTable(report)
    }
}
