import Block

/// The open files of a disk that is switched over before all of it has come.
struct PostCopyFiles: Sendable {
    let store: PresentMapStore
    /// The fingerprints of the blocks that are here.
    let manifest: FingerprintFile
}
