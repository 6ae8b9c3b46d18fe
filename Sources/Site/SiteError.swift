/// Errors of a site's store; each message is one line that says what to do.
package enum SiteError: Error, CustomStringConvertible, Equatable {
    case invalidName(String)
    case damaged(file: String)
    case laterVersion(file: String, version: Int)
    case otherBlockSize(store: String, has: Int, wanted: Int)
    case noSite(store: String)
    case noSuchHost(String, store: String)
    case isAlive(String)
    case isLink(String)
    case invalidStore(String)
    case lostLease(store: String)
    case comesBack(folder: String)
    case tooLarge(file: String)

    package var description: String {
        switch self {
        case .invalidName(let name):
            "'\(name)' can't be a host's name: use 1 to \(HostName.maximumLength) letters, digits, '.', '-' and '_'"
        case .damaged(let file):
            "\(file) is damaged: remove it; the nodes of the site write what they need again"
        case .laterVersion(let file, let version):
            "\(file) has version \(version), which this nearblock doesn't know: run the same release on all hosts"
        case .otherBlockSize(let store, let has, let wanted):
            "the site in \(store) has blocks of \(has) bytes, the index here of \(wanted): make the index again with "
                + "`--block-size \(has)`"
        case .noSite(let store):
            "\(store) holds no site: give what the nodes have as --site; see that a folder is mounted"
        case .noSuchHost(let host, let store): "the site in \(store) has no host '\(host)'"
        case .invalidStore(let name): "'\(name)' is no store: give the path of a folder, or rados:POOL[/NAMESPACE]"
        case .lostLease(let store):
            "another host merges the catalogues of \(store) now, so what was merged here is dropped"
        case .comesBack(let folder):
            "somebody writes into \(folder) while it is removed: stop the node of that name first, wherever it runs"
        case .tooLarge(let file):
            "\(file) is too large to be published: images of more than 64 TiB, in blocks of 4 KiB, are not"
        case .isLink(let path): "\(path) is no folder: somebody has put something else in its place; remove it"
        case .isAlive(let host): "the node of '\(host)' is alive: stop it first, or start it without --site"
        }
    }
}
