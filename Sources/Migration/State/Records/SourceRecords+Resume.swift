import MigrationCore

extension SourceRecords {
    /// How often the process has ended while it went on with what was asked for.
    /// - Throws: where the note can't be read.
    public func resumes<Request: Codable>(_ type: Request.Type) throws -> ResumeCount {
        try read(Kept<Request>.self, Self.requestPrefix)?.resumes ?? ResumeCount()
    }

    /// Changes, durably, how often that was. Nothing where no request is kept.
    /// - Throws: where the note can't be read or written.
    public func countResumes<Request: Codable>(
        of type: Request.Type, _ change: (inout ResumeCount) -> Void
    ) throws {
        // Held over both, so that it does not come to be again once it has been forgotten.
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
