import Rados

/// Decides whether a host may open a disk, and with which record. Pure.
struct DiskOpening: Sendable, Equatable {
    /// The copy of the disk in the image, as the host's own records have it; with the file that says so.
    enum Copy: Sendable, Equatable {
        /// Nothing against its being here whole.
        case sound
        case partial(String)
        case departed(String)

        /// The file that says that the newest and whole copy is elsewhere.
        var objection: String? {
            switch self {
            case .sound: nil
            case .partial(let file), .departed(let file): file
            }
        }
    }

    /// The record to write. The clients that it names are to be fenced then.
    let next: DiskRecord
    /// Whether another process of the same host may live, which is to be watched first.
    let mustWatch: Bool
    /// Whether the disk was another owner's in between: what this state directory had begun with it is over.
    let isHandedOver: Bool

    /// - Parameters:
    ///   - use: Who uses the image now.
    ///   - old: The record in the store.
    ///   - copy: What the host's own records say.
    ///   - isArriving: Whether blocks are missing.
    /// - Throws: `DiskError` if the host may not open it.
    init(
        _ image: String, as export: String, of owner: DiskOwner, _ use: RBDImage.Use, after old: DiskRecord?,
        copy: Copy = .sound, isArriving: Bool
    ) throws(DiskError) {
        guard use.hasLock else { throw DiskError.noLock(image) }
        if let feature = use.detour { throw DiskError.writesElsewhere(image, feature: feature) }
        // Not served before the image is open and its records are looked at once more.
        var next = DiskRecord(
            image: image, identity: use.identity, export: export, host: owner.host, instance: owner.instance,
            home: owner.home, generation: 0, state: .arriving, clients: [])
        var (mustWatch, isHandedOver) = (false, false)
        // The record of an image that was removed says nothing about this one.
        let known = old.flatMap { $0.identity == use.identity ? $0 : nil }
        if let known {
            guard known.host == owner.host else { throw DiskError.isServed(known) }
            let isOwn = known.home == owner.home
            // Only the records of the state directory that has begun it tell how it has ended.
            guard isOwn || known.state == .served else { throw DiskError.isUnexplained(known) }
            // Either may be the older one: nobody else knows which.
            if !isOwn, let file = copy.objection { throw DiskError.isContradicted(known, record: file) }
            isHandedOver = !isOwn
            if known.state == .leaving || !isArriving { next.state = known.state }
            // The clients of a disk that was taken over are fenced already, or belong to no process that lives.
            next.fenced = known.fenced
            mustWatch = !isOwn && known.home != 0 && !known.clients.isEmpty
        }
        // The node may have moved it while it ran without the site.
        switch copy {
        case .departed: next.state = .leaving
        case .partial where next.state == .served: next.state = .arriving
        case .partial, .sound: break
        }
        let old = known?.clients ?? []
        // Without an earlier process that was killed, a client is not the site's, and nobody has asked to fence it. One that
        // holds the lock and does not watch is gone, and librbd would fence it as well.
        let fenced = Set(next.fenced ?? [])
        if old.isEmpty, let client = use.watchers.first(where: { !fenced.contains($0) }) {
            throw DiskError.isInUse(image, client: client)
        }
        next.clients = Set(use.clients).subtracting(fenced).union(old).sorted()
        self.next = next
        (self.mustWatch, self.isHandedOver) = (mustWatch, isHandedOver)
    }
}
