/// A file in a folder of a site's store.
package struct SiteFolderEntry: Sendable {
    package let name: String
    /// The way to its bytes; nil if the file is to be opened at its path.
    package let stored: (any StoredFile)?

    package init(name: String, stored: (any StoredFile)?) {
        self.name = name
        self.stored = stored
    }
}
