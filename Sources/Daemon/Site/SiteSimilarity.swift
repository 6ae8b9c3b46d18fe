import Block
import BlockModel
import Index
import Migration
import Peer
import Site

/// The hosts of sites that hold most of a disk. The JSON form is part of nearblock's interface.
public struct SiteSimilarity: Codable, Sendable {
    /// One site, of which all hosts that are alive lend to the one at which the disk would arrive.
    public struct Place: Codable, Sendable {
        /// Path of its folder.
        public var store: String
        /// Bytes that its hosts have.
        public var found: UInt64
        /// Bytes that would cross the link.
        public var link: UInt64
        /// The expected size of `link`, compressed.
        public var data: UInt64
        /// Those with most of the disk first.
        public var hosts: [Host]
    }

    /// One host of a site.
    public struct Host: Codable, Sendable {
        /// Name of the host.
        public var host: String
        /// Address of its node for peers; nil if its record can't be read.
        public var address: String?
        /// Whether its node has written its record in the last minute. Otherwise it lends nothing.
        public var alive: Bool
        /// Bytes that its own images have.
        public var found: UInt64
        /// Bytes that it would borrow from the others.
        public var borrowed: UInt64
    }

    /// The export, or the path of the image.
    public var disk: String
    /// Bytes of the disk.
    public var size: UInt64
    /// Bytes of zero blocks.
    public var zero: UInt64
    /// Bytes of blocks that stand earlier in the disk.
    public var repeated: UInt64
    /// The one that has most of the disk first.
    public var sites: [Place]
    /// One line for each thing that is wrong: which, why, and what to do.
    public var problems: [String]

    init(disk: String, size: UInt64, zero: UInt64, repeated: UInt64, sites: [Place], problems: [String]) {
        self.disk = disk
        self.size = size
        self.zero = zero
        self.repeated = repeated
        self.sites = sites
        self.problems = problems
    }

    /// Measures a disk. Blocks the thread for as long as reading it takes.
    /// - Parameters:
    ///   - disk: Its name in the result.
    ///   - stores: The sites' stores, as users name them; at least one.
    ///   - domains: Of the images that count; empty for all.
    ///   - places: Finds the places at which a block should begin; nil counts as nowhere.
    ///   - isWanted: Asked now and then whether to go on.
    /// - Throws: `SiteError`, `FileError`, `NodeError`; `CancellationError` once `isWanted` returns false.
    package init(
        of image: any DiskImage, named disk: String, stores: [String], domains: [String],
        places: (any DiskImage) -> [UInt64]?, isWanted: @Sendable () -> Bool
    ) throws {
        let found = stores.map { store in
            Result { SiteSurvey(of: try SiteStore(naming: store).survey(), domains: domains) }
        }
        let surveys = found.compactMap { try? $0.get() }
        // One site that is away does not hide the others.
        if surveys.isEmpty { _ = try found.first?.get() }
        self.init(
            disk: disk, size: image.size, zero: 0, repeated: 0, sites: [], problems: surveys.flatMap(\.problems))
        for case .failure(let error) in found { problems.append(error.plainReason) }
        // A disk is cut into blocks of each size once.
        for (blockSize, surveys) in Dictionary(grouping: surveys, by: { $0.tables.blockSize }) {
            let origins = GridLayout.origins(for: places(image) ?? [], diskSize: image.size, blockSize: blockSize)
            guard let geometry = BlockGeometry(size: image.size, blockSize: blockSize, origins: origins) else {
                throw NodeError.unusable("\(disk) has \(image.size) bytes, which are no disk")
            }
            var scan = try SimilarityScan(image: image, geometry: geometry, groups: surveys.flatMap(\.groups))
            let result = try scan.run(isWanted: isWanted)
            (zero, repeated) = (result.zero, result.repeated)
            var shares = result.shares[...]
            for survey in surveys {
                sites.append(survey.place(shares.prefix(survey.groups.count)))
                shares = shares.dropFirst(survey.groups.count)
            }
        }
        sites.sort { ($0.link, $0.store) < ($1.link, $1.store) }
    }
}
