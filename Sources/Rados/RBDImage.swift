import Foundation

/// An RBD image, looked at from outside. Any thread may use it; every call blocks the thread.
package struct RBDImage: Sendable {
    /// Seconds for which a client is kept out: longer than any process stands still and then goes on.
    private static let fencedSeconds: UInt32 = 30 * 86_400
    private static let mostClients = 64

    /// `RBD_FEATURE_EXCLUSIVE_LOCK`.
    private static let exclusiveLock: UInt64 = 1 << 2

    /// Features with which a write goes elsewhere first, where the barrier does not look. `RBD_FEATURE_DIRTY_CACHE` is there while
    /// a write-back cache on a host has what the image has not.
    static let detours: [(bit: UInt64, name: String)] = [(1 << 6, "journaling"), (1 << 11, "dirty-cache")]

    /// The clients of an image.
    package struct Use: Sendable, Equatable {
        /// The image's own name in its pool, which no later image of the same name has.
        package var identity = ""
        /// The addresses of the clients that have it open for writing and live; sorted.
        package var watchers: [String] = []
        /// The address of the client that holds its lock, which may have ceased to watch.
        package var lockers: [String] = []
        /// Whether the image has the feature exclusive-lock.
        package var hasLock = true
        /// The feature with which writes go elsewhere first; nil for none.
        package var detour: String?

        package init() {}

        /// All of them, sorted.
        package var clients: [String] { Set(watchers + lockers).sorted() }
    }

    private let place: RBDPlace

    package init(_ place: RBDPlace) {
        self.place = place
    }

    /// A connection for one question: there may be many images, and a client of Ceph has many threads.
    private func pool() -> RadosPool { RadosPool(place.pool) }

    package func use() throws(RadosError) -> Use {
        let library = try RBDLibrary()
        var use = Use()
        _ = try pool().call("look at", place.image) { rados, context in
            Self.open(place.image, library, context) { image in
                var (name, features) = ([CChar](repeating: 0, count: 256), 0 as UInt64)
                let known = min(library.id(image, &name, name.count), library.features(image, &features))
                guard known >= 0 else { return known }
                use.identity = Self.text(name)
                use.hasLock = features & Self.exclusiveLock != 0
                use.detour = Self.detours.first { features & $0.bit != 0 }?.name
                var watchers: Set<String> = []
                let watched = Self.addWatchers(of: image, library, &watchers)
                let locked = RBDLocker.all(of: Self.header(use.identity), rados, context)
                (use.watchers, use.lockers) = (watchers.sorted(), locked.lockers.map(\.address))
                return min(watched, locked.code)
            }
        }
        return use
    }

    /// Sees that clients never write again, to whatever image: the cluster refuses them from now on.
    /// - Parameter addresses: As `use` names clients.
    /// - Throws: `RadosError`; some may be fenced then.
    package func fence(_ addresses: [String]) throws(RadosError) {
        guard !addresses.isEmpty else { return }
        let pool = pool()
        for address in addresses {
            _ = try pool.callCluster("fence the client \(address) of \(place)") { library, cluster, _ in
                var text = Array(address.utf8CString)
                return library.blocklist(cluster, &text, Self.fencedSeconds)
            }
        }
        let layout = try RBDBarrier.Layout(of: place.image, in: pool)
        _ = try pool.callCluster("wait for the fence of \(place)") { library, cluster, context in
            let result = library.waitForLatestMap(cluster)
            guard result >= 0 else { return result }
            let barrier = RBDBarrier(layout: layout, namespace: place.pool.namespace, library: library)
            let passed = barrier.pass(cluster, context)
            return passed.code < 0 ? passed.code : removeLocks(of: addresses, layout.id, library, context)
        }
    }

    /// Takes the lock from those that were fenced.
    private func removeLocks(
        of addresses: [String], _ identity: String, _ library: RadosLibrary, _ context: RadosLibrary.Handle
    ) -> CInt {
        let header = Self.header(identity)
        let (code, lockers) = RBDLocker.all(of: header, library, context)
        return lockers.filter { addresses.contains($0.address) }.reduce(code) {
            min($0, $1.remove(from: header, library, context))
        }
    }

    private static func header(_ identity: String) -> String { "rbd_header.\(identity)" }

    /// The text in a buffer of C.
    static func text(_ buffer: [CChar]) -> String {
        String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Opens an image for reading, which makes this process none of its clients.
    static func open(
        _ name: String, _ library: RBDLibrary, _ context: RBDLibrary.Handle, _ body: (RBDLibrary.Handle) -> CInt
    ) -> CInt {
        var handle: RBDLibrary.Handle?
        let opened = library.openReadOnly(context, name, &handle, nil)
        guard opened >= 0, let image = handle else { return opened < 0 ? opened : -ENOMEM }
        defer { _ = library.close(image) }
        return body(image)
    }

    private static func addWatchers(
        of image: RBDLibrary.Handle, _ library: RBDLibrary, _ clients: inout Set<String>
    ) -> CInt {
        var watchers = [RBDLibrary.Watcher](repeating: .init(), count: mostClients)
        var count = watchers.count
        return watchers.withUnsafeMutableBytes { bytes in
            let result = library.watchers(image, bytes.baseAddress!, &count)
            guard result >= 0 else { return result }
            for watcher in bytes.bindMemory(to: RBDLibrary.Watcher.self).prefix(count) {
                if let address = watcher.address { clients.insert(String(cString: address)) }
            }
            library.freeWatchers(bytes.baseAddress!, count)
            return 0
        }
    }
}
