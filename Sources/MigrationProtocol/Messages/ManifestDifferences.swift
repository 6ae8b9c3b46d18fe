/// The groups of a summary that differ from what the destination has.
public struct ManifestDifferences: Sendable, Equatable {
    package var first: UInt64
    /// Whether each group differs.
    package var differs: [Bool]
    /// Bytes of non-zero blocks in the groups that do not differ.
    package var present: UInt64

    package init(first: UInt64, differs: [Bool], present: UInt64) {
        self.first = first
        self.differs = differs
        self.present = present
    }

    /// The answer if none of the summary's groups is there.
    package static func all(of summary: ManifestSummary) -> ManifestDifferences {
        ManifestDifferences(first: summary.first, differs: summary.groups.map { _ in true }, present: 0)
    }
}
