import Block
import FreeSpace
import Migration

/// Placement: where a disk of this node would find most of its blocks.
extension Node {
    /// Measures an export against the hosts of sites.
    /// - Parameters:
    ///   - stores: Paths of the sites' folders; empty for the site of this node.
    ///   - domains: Of the images that count; empty for all.
    /// - Throws: `NodeError` if the export has no image here, or no site is known; errors of the sites and the image.
    func similarity(of name: String, stores: [String], domains: [String]) async throws -> SiteSimilarity {
        let export = try find(name)
        guard let backing = export.backing else { throw NodeError.isArriving(export.name) }
        let stores = stores.isEmpty ? configuration.site.store.map { [$0] } ?? [] : stores
        guard !stores.isEmpty else {
            throw NodeError.unusable("this node is in no site; give the store of one as --site STORE")
        }
        return try await InterruptibleThread.run(.some) { [name = export.name] isWanted in
            try SiteSimilarity(
                of: backing.image, named: name, stores: stores, domains: domains,
                places: { _ in backing.file.flatMap { PartitionReader().places(on: $0.descriptor) } },
                isWanted: isWanted)
        }
    }
}
