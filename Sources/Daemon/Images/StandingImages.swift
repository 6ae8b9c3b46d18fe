import Block
import Migration
import NIOConcurrencyHelpers

/// Who stands at the paths that a configuration names: a record about one of these images is not about another image that
/// stands where it once stood.
final class StandingImages: Sendable {
    private let images = NIOLockedValueBox<[StandingImage]>([])

    /// The images when somebody last looked.
    var all: [StandingImage] { images.withLockedValue { $0 } }

    /// Their identities.
    var identities: [ImageIdentity] { all.map(\.identity) }

    /// Looks at every path. An image that can't be looked at, or is another server's, stands nowhere.
    func look(at exports: [ExportConfiguration]) {
        let found: [StandingImage] = exports.compactMap { export in
            guard !RemoteImage.isURI(export.backing),
                let seen = try? ImageIdentity.look(at: export.backing, name: export.identity)
            else { return nil }
            return StandingImage(path: export.backing, identity: seen.identity, file: seen.file)
        }
        images.withLockedValue { $0 = found }
    }
}
