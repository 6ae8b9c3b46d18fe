extension TLSFiles {
    /// Looks at the dates of the certificates that are there: this side's own, and those of the authorities. A file that
    /// can't be read has no dates; `TLSContext` reports it. Blocks the thread.
    func dateProblems() -> [CertificateProblem] {
        [certificate, authority].compactMap { $0 }.flatMap { path in
            let certificates = (try? Certificate.read(path)) ?? []
            return certificates.compactMap { CertificateProblem(path, $0.validity) }
        }
    }
}
