import Block
import Foundation
import Rados

/// A disk that `qemu-storage-daemon` reads and writes: a file that is not raw, a Ceph image, or what a `json:`
/// specification of QEMU describes.
public struct ImageSpecification: Sendable {
    /// The formats that a file may have, as QEMU calls them.
    public static var formats: [String] { ImageFormat.supported }

    private enum Store: Sendable {
        case file(path: String)
        case ceph(pool: String, namespace: String?, image: String, snapshot: String?)
        /// The members of a JSON object, encoded again.
        case node(Data)
    }

    /// The specification as the user wrote it.
    public let text: String
    /// The format of the disk in the file or image; nil for raw.
    public let format: String?
    private let store: Store

    /// Whether a disk needs `qemu-storage-daemon`. Others are raw files, block devices and NBD URIs.
    /// - Parameter format: as the user wrote it; nil if not at all.
    public static func isNeeded(for text: String, format: String?) -> Bool {
        text.hasPrefix("json:") || text.hasPrefix("rbd:") || format.map(formats.contains) ?? false
    }

    /// Reads what a user wrote.
    /// - Parameters:
    ///   - text: a path, `rbd:POOL/IMAGE` or `json:{…}`.
    ///   - format: the format in it; nil or `raw` for none.
    /// - Throws: `StorageDaemonError`.
    public init(_ text: String, format: String?) throws {
        self.text = text
        self.format = format == "raw" ? nil : format
        if let format = self.format, !Self.formats.contains(format) {
            throw StorageDaemonError(
                text, "'\(format)' is no format; there are raw, auto, \(Self.formats.joined(separator: ", "))")
        }
        if let body = text.removing(prefix: "json:") {
            store = .node(try Self.node(body, text))
        } else if let body = text.removing(prefix: "rbd:") {
            store = try Self.ceph(body, text)
        } else {
            store = .file(path: text)
        }
    }

    /// The path of the file or device that holds the disk; nil if that is not known, or not on this host.
    public var path: String? {
        guard case .file(let path) = store else { return nil }
        return path
    }

    /// Whether a description for QEMU names an image of a Ceph cluster, or may do so, at any depth.
    public var hidesCeph: Bool {
        guard case .node(let data) = store else { return false }
        return (try? JSONSerialization.jsonObject(with: data)).map(Self.namesCeph) ?? true
    }

    private static func namesCeph(_ value: Any) -> Bool {
        switch value {
        case let object as [String: Any]:
            object["driver"] as? String == "rbd" || object.values.contains(where: namesCeph)
        case let list as [Any]: list.contains(where: namesCeph)
        case let text as String: text.hasPrefix("rbd:") || text.hasPrefix("json:")
        default: false
        }
    }

    /// The argument of `--blockdev`, as JSON; the node is called `name`.
    /// - Parameters:
    ///   - isDirect: whether the host's page cache is bypassed.
    ///   - isShared: whether another program may write to the image meanwhile; only for reading.
    ///   - usesRing: whether a file past the page cache is read and written through io_uring, and not by QEMU's threads. Through
    ///     the page cache it never is: only the threads remember that a flush has failed (decision 0013).
    ///   - cephArguments: `CEPH_ARGS`. QEMU gives librados a user itself, and not the one that is named there.
    func blockdev(
        name: String, isReadOnly: Bool, isDirect: Bool, isShared: Bool, usesRing: Bool = false,
        cephArguments: String? = ProcessInfo.processInfo.environment["CEPH_ARGS"]
    ) throws -> String {
        var options: [String: Any] = ["read-only": isReadOnly, "discard": "unmap"]
        if isDirect { options["cache"] = ["direct": true, "no-flush": false] }
        if isShared { options["force-share"] = true }
        var node = try protocolNode(options)
        if case .ceph = store, let cephArguments { node["user"] = try Self.user(in: cephArguments, text) }
        if usesRing, isDirect, path != nil { node["aio"] = "io_uring" }
        if let format {
            node = options.merging(["driver": format, "file": node]) { $1 }
        }
        node["node-name"] = name
        let data = try JSONSerialization.data(withJSONObject: node, options: [.sortedKeys, .withoutEscapingSlashes])
        return String(decoding: data, as: UTF8.self)
    }

    private func protocolNode(_ options: [String: Any]) throws -> [String: Any] {
        switch store {
        case .file(let path):
            let driver = Self.isBlockDevice(path) ? "host_device" : "file"
            // A relative path that contains a colon would be taken for a protocol by older releases.
            let full = path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
            var node: [String: Any] = ["driver": driver, "filename": full]
            if options["force-share"] == nil { node["locking"] = "on" }
            return node.merging(options) { $1 }
        case .ceph(let pool, let namespace, let image, let snapshot):
            var node: [String: Any] = ["driver": "rbd", "pool": pool, "image": image]
            node["namespace"] = namespace
            node["snapshot"] = snapshot
            return node.merging(options) { $1 }
        case .node(let data):
            let node = try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
            // Options that the user has written hold, except for who may write.
            var merged = options.merging(node) { $1 }
            merged["read-only"] = options["read-only"]
            return merged
        }
    }

    /// The user of Ceph as QEMU names it: without `client.`.
    private static func user(in arguments: String, _ text: String) throws -> String {
        let user = RBDPlace.user(arguments: arguments)
        guard let name = user.removing(prefix: "client."), !name.isEmpty else {
            throw StorageDaemonError(
                text, "CEPH_ARGS names \(user), and a disk can be opened by a client only: --id NAME is client.NAME")
        }
        return name
    }

    private static func isBlockDevice(_ path: String) -> Bool {
        var info = stat()
        return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFBLK
    }

    private static func node(_ body: String, _ text: String) throws -> Data {
        guard let object = try? JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any],
            object["driver"] is String
        else {
            throw StorageDaemonError(
                text, "after json: comes an object with a driver, as for qemu-storage-daemon --blockdev")
        }
        return try JSONSerialization.data(withJSONObject: object)
    }

    /// Reads POOL[/NAMESPACE]/IMAGE[@SNAPSHOT].
    private static func ceph(_ body: String, _ text: String) throws -> Store {
        let halves = body.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let parts = halves[0].split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard (2...3).contains(parts.count), (parts + halves).allSatisfy({ !$0.isEmpty && !$0.contains(":") }) else {
            throw StorageDaemonError(text, "give rbd:POOL/IMAGE, rbd:POOL/NAMESPACE/IMAGE, or either with @SNAPSHOT")
        }
        return .ceph(
            pool: parts[0], namespace: parts.count == 3 ? parts[1] : nil, image: parts[parts.count - 1],
            snapshot: halves.count == 2 ? halves[1] : nil)
    }
}

extension String {
    fileprivate func removing(prefix: String) -> String? {
        hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
    }
}
