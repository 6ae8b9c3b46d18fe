import TLS

/// Looks at the dates of certificates again and again, since a node may run for longer than they last.
struct CertificateWatch: Sendable {
    /// Time between two looks, and before the first one: whoever begins to use certificates looks at them.
    var interval = Duration.seconds(24 * 60 * 60)
    /// Finds what is wrong with the certificates at this moment.
    let look: @Sendable () async -> [CertificateProblem]
    /// Called with each problem of each look.
    let report: @Sendable (CertificateProblem) async -> Void

    /// Runs until the task is cancelled.
    func run() async {
        while true {
            do { try await Task.sleep(for: interval) } catch { return }
            for problem in await look() { await report(problem) }
        }
    }
}
