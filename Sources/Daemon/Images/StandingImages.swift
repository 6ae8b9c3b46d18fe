import Block
import Migration
import NIOConcurrencyHelpers
import StorageDaemon

/// The images at the configured paths, by identity. With them, a record about one image is not applied to another image
/// that has taken its path.
final class StandingImages: Sendable {
    private let images = NIOLockedValueBox<[StandingImage]>([])

    /// The images at the last look.
    var all: [StandingImage] { images.withLockedValue { $0 } }

    /// Identities of the images at the last look.
    var identities: [ImageIdentity] { all.map(\.identity) }

    private static func found(at path: String) -> String? {
        (try? RawImage(path: path, access: .readOnly))?.format()?.name
    }

    /// Looks at every path. Unreadable images and images of other servers are left out.
    func look(at exports: [ExportConfiguration]) {
        let found: [StandingImage] = exports.compactMap { export in
            guard !NBDClientImage.isURI(export.backing), !ImageSpecification.isNeeded(for: export.backing, format: nil),
                var seen = try? ImageIdentity.look(at: export.backing, name: export.identity)
            else { return nil }
            let format = export.format == "auto" ? Self.found(at: export.backing) : export.format
            if let format, ImageSpecification.formats.contains(format) { seen.identity.format = format }
            return StandingImage(path: export.backing, identity: seen.identity, file: seen.file)
        }
        images.withLockedValue { $0 = found }
    }
}
