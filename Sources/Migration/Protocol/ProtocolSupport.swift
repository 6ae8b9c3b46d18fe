/// What a release speaks of the migration protocol. Each side says it in the first message of a connection, before
/// anything else, and both come to the same agreement from what both have said.
struct ProtocolSupport: Sendable, Equatable {
    /// Optional parts of the protocol that one release knows and another may not. A bit that a release does not know
    /// means nothing to it; a part is used only where both sides have its bit.
    struct Capabilities: OptionSet, Sendable {
        let rawValue: UInt64

        /// A disk may be handed over before all of it is at the destination.
        static let postcopy = Capabilities(rawValue: 1 << 0)
        /// A destination that has an older copy of the disk may be told of groups of blocks first.
        static let summaries = Capabilities(rawValue: 1 << 1)
        /// The source may be asked what its clients read most.
        static let mostRead = Capabilities(rawValue: 1 << 2)
        /// The bytes of blocks may come in later pieces of the stream than the one that names them, within their round.
        static let latePieces = Capabilities(rawValue: 1 << 3)
        /// What is missing at the hand-over need not be said where it is what the source has named as dirty.
        static let unsaidMissing = Capabilities(rawValue: 1 << 4)
        /// One question may be about the fingerprints of several runs of blocks.
        static let describesRuns = Capabilities(rawValue: 1 << 5)
        /// The source may be told how much is missing.
        static let hearsOfRest = Capabilities(rawValue: 1 << 6)
        /// A node that forwards here may be told where the disk is now, and may say who forwards to it.
        static let successors = Capabilities(rawValue: 1 << 7)
        /// An offer has `OfferDetails`.
        static let offerDetails = Capabilities(rawValue: 1 << 8)
    }

    /// What both sides speak.
    struct Agreement: Sendable, Equatable {
        let version: UInt16
        let capabilities: Capabilities
    }

    /// This release's.
    static let own = ProtocolSupport(
        versions: 3...3,
        capabilities: [
            .postcopy, .summaries, .mostRead, .latePieces, .unsaidMissing, .describesRuns, .hearsOfRest,
            .successors, .offerDetails,
        ])

    var versions: ClosedRange<UInt16>
    var capabilities: Capabilities

    /// The highest version and the capabilities that two releases have in common.
    /// - Throws: `MigrationError.noCommonVersion`.
    static func agreement(source: ProtocolSupport, destination: ProtocolSupport) throws -> Agreement {
        guard source.versions.overlaps(destination.versions) else {
            throw MigrationError.noCommonVersion(source: source.versions, destination: destination.versions)
        }
        return Agreement(
            version: min(source.versions.upperBound, destination.versions.upperBound),
            capabilities: source.capabilities.intersection(destination.capabilities))
    }
}
