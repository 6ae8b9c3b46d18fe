import TLS

/// The dates of certificates, which pass while the node runs.
extension Node {
    /// Looks at the certificates of a configuration once a day from now on, in place of those of an earlier one.
    func watchCertificates(of configuration: NodeConfiguration) {
        certificateWatch?.cancel()
        guard !isStopping else { return }
        let watch = CertificateWatch(
            look: { [pools] in
                (try? await pools.background.runIfActive { configuration.certificateProblems() }) ?? []
            },
            report: { [weak self] in await self?.log($0) })
        certificateWatch = Task { await watch.run() }
    }

    /// Logs a problem of a certificate. A node with an expired one goes on, since clients without TLS may need it.
    func log(_ problem: CertificateProblem) {
        if problem.isFault { logger.error("\(problem)") } else { logger.warning("\(problem)") }
    }
}
