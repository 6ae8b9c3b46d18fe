import Block
import Foundation
import Glibc
import NIOConcurrencyHelpers

/// The heads of the records of a state directory, read once and again whenever the directory has changed.
final class RecordHeads: Sendable {
    private struct Known {
        var changed: (seconds: Int, nanoseconds: Int)?
        var heads: [String: [(name: String, head: RecordHead)]] = [:]
    }

    private let known = NIOLockedValueBox(Known())

    /// Has everything read again.
    func forget() { known.withLockedValue { $0 = Known() } }

    /// The records of `directory` whose names begin with `prefix`.
    /// - Throws: where one can't be read or understood.
    func all(_ prefix: String, in directory: StateDirectory) throws -> [(name: String, head: RecordHead)] {
        try known.withLockedValue { known in
            var info = stat()
            guard stat(directory.scratch, &info) == 0 else { throw FileError("stat", directory.scratch) }
            let changed = (seconds: info.st_mtim.tv_sec, nanoseconds: info.st_mtim.tv_nsec)
            if known.changed.map({ $0 == changed }) != true { known = Known(changed: changed) }
            if let heads = known.heads[prefix] { return heads }
            let heads = try directory.readAll(RecordHead.self, prefix: "\(prefix)-").map { ($0.name, $0.record) }
            known.heads[prefix] = heads
            return heads
        }
    }
}
