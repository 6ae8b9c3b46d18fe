import Foundation
import Rados
import TestSupport
import Testing

@testable import Site

/// The stores that the tests run with: a folder, and RADOS where `NEARBLOCK_CEPH_CONF` names a cluster with the pool `rbd`, as
/// `nbd-scripts/test ceph` does.
enum StoreKind: String, CaseIterable, CustomTestStringConvertible {
    case folder, rados

    static let here: [StoreKind] = configuration == nil ? [.folder] : allCases
    static let configuration = ProcessInfo.processInfo.environment["NEARBLOCK_CEPH_CONF"]

    var testDescription: String { rawValue }

    /// A store that nobody else uses.
    func make(in scratch: Scratch) throws -> any SiteFiles {
        switch self {
        case .folder:
            try FileManager.default.createDirectory(atPath: scratch.file("site"), withIntermediateDirectories: true)
            return FolderFiles(name: scratch.file("site"))
        case .rados:
            return RadosFiles(pool: Self.pool())
        }
    }

    /// A namespace that nobody else uses.
    static func pool() -> RadosPool {
        setenv("CEPH_CONF", configuration ?? "", 1)
        return RadosPool(RadosPlace(pool: "rbd", namespace: "test-\(UInt64.random(in: 0 ... .max))"))
    }
}
