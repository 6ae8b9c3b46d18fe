/// The part of the migration protocol that a release speaks. Each side says it in the first message of a connection,
/// before anything else, and both come to the same agreement from the two.
package struct ProtocolSupport: Sendable, Equatable {
    /// Optional parts of the protocol that one release knows and another may not. A bit that a release does not know
    /// means nothing to it; a part is used only where both sides have its bit.
    package struct Capabilities: OptionSet, Sendable {
        package let rawValue: UInt64

        package init(rawValue: UInt64) {
            self.rawValue = rawValue
        }

        /// A disk may be switched over before all of it is at the destination.
        package static let postcopy = Capabilities(rawValue: 1 << 0)
        /// A destination that has an older copy of the disk may be told of groups of blocks first.
        package static let summaries = Capabilities(rawValue: 1 << 1)
        /// The source may be asked which blocks its clients read most.
        package static let mostRead = Capabilities(rawValue: 1 << 2)
        /// The bytes of blocks may come in later pieces of the stream than the one that names them, within their round.
        package static let latePieces = Capabilities(rawValue: 1 << 3)
        /// Blocks missing at the switchover need not be said if they are those that the source has named as dirty.
        package static let unsaidMissing = Capabilities(rawValue: 1 << 4)
        /// One question may be about the fingerprints of several runs of blocks.
        package static let describesRuns = Capabilities(rawValue: 1 << 5)
        /// The source may be told how much is missing.
        package static let hearsOfRest = Capabilities(rawValue: 1 << 6)
        /// A node that forwards here may be told where the disk is now, and may say who forwards to it.
        package static let successors = Capabilities(rawValue: 1 << 7)
        /// An offer has `OfferDetails`.
        package static let offerDetails = Capabilities(rawValue: 1 << 8)
        /// The memory of a guest may cross on connections of its own.
        package static let memory = Capabilities(rawValue: 1 << 9)
        /// The source may name blocks that are best brought last.
        package static let freeBlocks = Capabilities(rawValue: 1 << 10)
        /// The link may be measured on a connection of its own.
        package static let probe = Capabilities(rawValue: 1 << 11)
        /// An offer may say where blocks begin besides the start of the disk.
        package static let grids = Capabilities(rawValue: 1 << 12)
        /// A dirty bitmap for backups may move with its disk.
        package static let bitmaps = Capabilities(rawValue: 1 << 13)
        /// Frames of the stream may refer to blocks of neighbours that both sides have.
        package static let prefix = Capabilities(rawValue: 1 << 14)
        /// Images may be read, by other hosts of the same site.
        package static let neighbours = Capabilities(rawValue: 1 << 15)
        /// Blocks of disks that arrive may be asked for, by other hosts of the same site.
        package static let arrivals = Capabilities(rawValue: 1 << 16)

        private static let named: [(Capabilities, String)] = [
            (.postcopy, "postcopy"), (.summaries, "summaries"), (.mostRead, "mostRead"), (.latePieces, "latePieces"),
            (.unsaidMissing, "unsaidMissing"), (.describesRuns, "describesRuns"), (.hearsOfRest, "hearsOfRest"),
            (.successors, "successors"), (.offerDetails, "offerDetails"), (.memory, "memory"),
            (.freeBlocks, "freeBlocks"), (.probe, "probe"), (.grids, "grids"),
            (.bitmaps, "bitmaps"), (.prefix, "prefix"), (.neighbours, "neighbours"),
            (.arrivals, "arrivals"),
        ]

        /// The names of docs/protocol.md.
        package var names: [String] { Self.named.filter { contains($0.0) }.map(\.1) }
    }

    /// The part of the protocol that both sides speak.
    package struct Agreement: Sendable, Equatable {
        package let version: UInt16
        package let capabilities: Capabilities

        package init(version: UInt16, capabilities: Capabilities) {
            self.version = version
            self.capabilities = capabilities
        }
    }

    /// The protocol of this release.
    package static let own = ProtocolSupport(
        versions: 3...3,
        capabilities: [
            .postcopy, .summaries, .mostRead, .latePieces, .unsaidMissing, .describesRuns, .hearsOfRest,
            .successors, .offerDetails, .memory, .freeBlocks, .probe, .grids, .bitmaps, .prefix, .neighbours,
            .arrivals,
        ])

    package var versions: ClosedRange<UInt16>
    package var capabilities: Capabilities

    package init(versions: ClosedRange<UInt16>, capabilities: Capabilities) {
        self.versions = versions
        self.capabilities = capabilities
    }

    /// The highest version and the capabilities that two releases have in common.
    /// - Throws: `MigrationError.noCommonVersion`.
    package static func agreement(source: ProtocolSupport, destination: ProtocolSupport) throws -> Agreement {
        guard source.versions.overlaps(destination.versions) else {
            throw MigrationError.noCommonVersion(source: source.versions, destination: destination.versions)
        }
        return Agreement(
            version: min(source.versions.upperBound, destination.versions.upperBound),
            capabilities: source.capabilities.intersection(destination.capabilities))
    }
}
