import Block

/// Who stands at the paths that a configuration names: a record about one of these images is not about another image that
/// stands where it once stood.
struct StandingImages: Sendable {
    /// Nobody.
    init() { identities = [] }

    /// Looks at every path; an image that can't be looked at, or is another server's, stands nowhere.
    init(of exports: [ExportConfiguration]) {
        identities = exports.compactMap { export in
            guard !RemoteImage.isURI(export.backing) else { return nil }
            return (try? ImageIdentity(at: export.backing, name: export.identity)).flatMap { $0 }
        }
    }

    let identities: [ImageIdentity]
}
