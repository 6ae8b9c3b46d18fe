import Block
import Glibc
import Index
import Rados

/// A folder with tables or catalogues in a RADOS store.
struct RadosFolder: SiteFolder {
    let object: String
    let pool: RadosPool

    var path: String { "\(pool.place)/\(object)" }

    /// A key that is no file, or one that makes no sense, is left out: its host publishes it again.
    /// - Throws: `RadosError`, also if there are more than a listing takes: nobody may act on a part.
    func entries() throws -> [SiteFolderEntry] {
        guard let entries = try pool.entries(object) else { throw FileError("list", path, code: ENOENT) }
        return entries.compactMap { key, value in
            guard !key.hasPrefix("~"), !key.contains("/"), let head = RadosHead(value) else { return nil }
            return SiteFolderEntry(name: key, stored: RadosFile(head, in: pool))
        }
    }
}
