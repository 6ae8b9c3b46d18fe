import MigrationCore

extension SourceRecords {
    /// The number of times that the process has ended while it went on with the request.
    /// - Throws: if the record can't be read.
    public func resumes<Request: Codable>(_ type: Request.Type) throws -> ResumeCount {
        try read(Kept<Request>.self, Self.requestPrefix)?.resumes ?? ResumeCount()
    }

    /// Changes that number durably, if a request is recorded.
    /// - Throws: if the record can't be read or written.
    public func countResumes<Request: Codable>(
        of type: Request.Type, _ change: (inout ResumeCount) -> Void
    ) throws {
        // Locked over both, so that a request that is removed meanwhile is not written again.
        _ = try changing(Self.requestPrefix) { file in
            guard var kept = try file.read(Kept<Request>.self) else { return }
            let before = kept.resumes ?? ResumeCount()
            var count = before
            change(&count)
            guard count != before else { return }
            kept.resumes = count == ResumeCount() ? nil : count
            try file.write(kept)
        }
    }
}
