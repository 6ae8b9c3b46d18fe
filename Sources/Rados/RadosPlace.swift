import Glibc

/// A pool of a Ceph cluster, or a namespace in one, as users write it: `rados:POOL[/NAMESPACE]`.
package struct RadosPlace: Sendable, Equatable, CustomStringConvertible {
    package static let prefix = "rados:"

    package let pool: String
    /// Empty for the pool's own.
    package let namespace: String

    package var description: String { Self.prefix + pool + (namespace.isEmpty ? "" : "/\(namespace)") }

    package init(pool: String, namespace: String) {
        (self.pool, self.namespace) = (pool, namespace)
    }

    /// Reads what a user wrote; nil if it is no such place.
    package init?(_ text: String) {
        guard text.hasPrefix(Self.prefix) else { return nil }
        let parts = text.dropFirst(Self.prefix.count).split(separator: "/", omittingEmptySubsequences: false)
        let isSound = parts.allSatisfy { part in
            (1...128).contains(part.utf8.count)
                && part.utf8.allSatisfy {
                    (0x21...0x7e).contains($0) && $0 != UInt8(ascii: ":") && $0 != UInt8(ascii: "@")
                }
        }
        guard isSound, (1...2).contains(parts.count) else { return nil }
        self.init(pool: String(parts[0]), namespace: parts.count == 2 ? String(parts[1]) : "")
    }

    /// The user whom `CEPH_ARGS` names as `--id NAME` or `--name client.NAME`; client.admin otherwise. librados reads its
    /// other options itself.
    static func user(arguments: String?) -> String {
        let words = (arguments ?? "").split(separator: " ").map(String.init)
        for (number, word) in words.enumerated() {
            let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
            let next = parts.count == 2 ? parts[1] : number + 1 < words.count ? words[number + 1] : nil
            guard let option = parts.first, let next else { continue }
            if ["--id", "--user", "-i"].contains(option) { return "client.\(next)" }
            if ["--name", "-n"].contains(option) { return next }
        }
        return "client.admin"
    }
}
