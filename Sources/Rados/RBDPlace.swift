/// An image of a Ceph cluster as users write it: `rbd:POOL/IMAGE` or `rbd:POOL/NAMESPACE/IMAGE`.
package struct RBDPlace: Sendable, Equatable, CustomStringConvertible {
    package let pool: RadosPlace
    package let image: String

    package var description: String {
        "rbd:\(pool.pool)/\(pool.namespace.isEmpty ? "" : "\(pool.namespace)/")\(image)"
    }

    /// The user of the cluster, as `client.admin`.
    /// - Parameter arguments: `CEPH_ARGS`; nil if there are none.
    package static func user(arguments: String?) -> String { RadosPlace.user(arguments: arguments) }

    /// Reads what a user wrote; nil if it is no such image, or a snapshot.
    package init?(_ text: String) {
        guard text.hasPrefix("rbd:"), !text.contains("@") else { return nil }
        let parts = text.dropFirst(4).split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard (2...3).contains(parts.count),
            parts.allSatisfy({ !$0.isEmpty && !$0.contains(":") && !$0.utf8.contains(0) })
        else { return nil }
        pool = RadosPlace(pool: parts[0], namespace: parts.count == 3 ? parts[1] : "")
        image = parts[parts.count - 1]
    }
}
