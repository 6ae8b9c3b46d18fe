/// A change to the files of a folder.
struct SiteFolderChange {
    /// The host that makes it.
    let host: String
    /// Path of a file of this host that is copied into the folder, and its name there; nil for none.
    var file: (source: String, name: String)?
    /// Names of files that go.
    var removed: [String] = []
    /// The lease that is needed for it; nil for none.
    var lease: (any SiteLease)?
}
