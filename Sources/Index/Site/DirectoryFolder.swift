/// A folder of a site's store on a file system.
package struct DirectoryFolder: SiteFolder {
    package let path: String

    package init(path: String) {
        self.path = path
    }

    package func entries() throws -> [SiteFolderEntry] {
        try IndexDirectory(path: path).files().map { SiteFolderEntry(name: $0, stored: nil) }
    }
}
