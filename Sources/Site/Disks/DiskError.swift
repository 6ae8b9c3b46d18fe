/// Reasons why a host may not serve a disk of the site; each message is one line that says what to do.
package enum DiskError: Error, CustomStringConvertible, Equatable {
    case isServed(DiskRecord)
    case isServedHere(String)
    case isInUse(String, client: String)
    case isArriving(DiskRecord)
    case isLeaving(DiskRecord)
    case isUnexplained(DiskRecord)
    case isContradicted(DiskRecord, record: String)
    case isRenamed(String, record: DiskRecord)
    case ownerIsAlive(String)
    case noLock(String)
    case writesElsewhere(String, feature: String)
    case noClient(String)
    case isBusy(String)
    case tooLong(String)
    case hidden(String)
    case isDamaged(String, record: String)
    case lost(image: String)
    case unknown(String, store: String)
    case ambiguous(String, images: [String])
    case otherImage(String)
    case folder(String)

    package var description: String {
        switch self {
        case .isServed(let disk):
            "\(disk.image) is served by the host '\(disk.host)' as '\(disk.export)'; if that is gone: nearblock site takeover "
                + "\(disk.export) --host NAME"
        case .isServedHere(let image): "\(image) is served here already: a second export can only be read-only"
        case .isInUse(let image, let client):
            "\(image) is in use by the client \(client), of which the site knows nothing: end it, or wait 30 s if it is gone"
        case .isArriving(let disk):
            "\(disk.export) had not arrived completely at '\(disk.host)', and only its node knows who has the rest: start it again"
        case .isLeaving(let disk):
            "\(disk.export) was moving away from '\(disk.host)', or has moved, and only its node knows which: start it again"
        case .isUnexplained(let disk):
            "\(disk.export) \(disk.state == .arriving ? "had not arrived completely" : "was moving away, or has moved"), which "
                + "only the state directory of '\(disk.host)' at that time knows: give it with --state; if it is lost, see "
                + "docs/site.md"
        case .isContradicted(let disk, let record):
            "the site says that all of \(disk.export) is in \(disk.image), and \(record) that it is not here: see docs/site.md, "
                + "and then remove the one that is wrong"
        case .isRenamed(let image, let disk):
            "\(image) is the image that the site knows as \(disk.image), of '\(disk.host)': give it that name again; or see "
                + "docs/site.md, and remove that record"
        case .ownerIsAlive(let host):
            "a node of '\(host)' shows that it lives: end it first, or give --force if you know that it is gone"
        case .noLock(let image):
            "\(image) lacks exclusive-lock, without which no host can be kept out: rbd feature enable "
                + "\(image.dropFirst(4)) exclusive-lock"
        case .writesElsewhere(let image, feature: "journaling"):
            "\(image) has the feature journaling, so a fenced host may still write to its journal: rbd feature disable "
                + "\(image.dropFirst(4)) journaling"
        case .writesElsewhere(let image, let feature):
            "\(image) has the feature \(feature): a host's write-back cache has bytes that are not in it; see rbd "
                + "persistent-cache, and docs/limits.md"
        case .noClient(let image):
            "the cluster does not list the client that has opened \(image), so it is not used; it is opened again"
        case .isBusy(let image): "the record of \(image) changes all the time: try again in a moment"
        case .tooLong(let image):
            "the record of \(image) would be too long to be read: restart the node, which fences its earlier clients"
        case .hidden(let text):
            "\(text) would bypass the site's record of who serves an image: write rbd:POOL/IMAGE, or serve it read-only"
        case .isDamaged(let image, let record):
            "\(record) is damaged, so nobody knows who may serve \(image): see docs/site.md before you remove it"
        case .lost(let image):
            "\(image) has been taken over, by another host or for another node of this name, and is not served here any more"
        case .unknown(let name, let store): "\(store) knows no disk '\(name)': nearblock site status shows those on RBD"
        case .ambiguous(let name, let images):
            "there are several disks '\(name)' in the site; name one as \(images.joined(separator: " or "))"
        case .otherImage(let image):
            "\(image) is another image than the one that the site knows by this name: see what is in it"
        case .folder(let store): "\(store) is a folder, and keeps no disks: that takes --site rados:POOL"
        }
    }
}
