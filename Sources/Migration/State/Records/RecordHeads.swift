import Block
import Foundation
import Glibc
import NIOConcurrencyHelpers

/// The heads of the records of a state directory, each read once and again when its file is another one.
final class RecordHeads: Sendable {
    private struct FileStamp: Equatable {
        let inode: UInt64
        let seconds: Int
        let nanoseconds: Int

        init(_ info: stat) {
            inode = UInt64(info.st_ino)
            seconds = info.st_mtim.tv_sec
            nanoseconds = info.st_mtim.tv_nsec
        }
    }

    private struct Known {
        /// The directory's stamp when `lists` were made.
        var directory: FileStamp?
        var lists: [String: [(name: String, head: RecordHead)]] = [:]
        var heads: [String: (file: FileStamp, head: RecordHead)] = [:]
    }

    private let known = NIOLockedValueBox(Known())

    /// The directory has been changed by this process, perhaps within one tick of its clock.
    func forget() { known.withLockedValue { $0.directory = nil } }

    /// The records of `directory` whose names begin with `prefix`.
    /// - Throws: if one can't be read or understood.
    func all(_ prefix: String, in directory: StateDirectory) throws -> [(name: String, head: RecordHead)] {
        try known.withLockedValue { known in
            let now = try Self.stamp(of: directory.scratch)
            if known.directory != now { (known.directory, known.lists) = (now, [:]) }
            if let list = known.lists[prefix] { return list }
            let list = try directory.names(prefix: "\(prefix)-").compactMap { name in
                try Self.head(name, in: directory, &known.heads).map { (name: name, head: $0) }
            }
            known.lists[prefix] = list
            return list
        }
    }

    private static func head(
        _ name: String, in directory: StateDirectory, _ heads: inout [String: (file: FileStamp, head: RecordHead)]
    ) throws -> RecordHead? {
        guard let file = try? stamp(of: directory.path(of: name)) else { return nil }
        if let known = heads[name], known.file == file { return known.head }
        guard let head = try directory.read(RecordHead.self, from: name) else { return nil }
        heads[name] = (file, head)
        return head
    }

    private static func stamp(of path: String) throws -> FileStamp {
        var info = stat()
        guard stat(path, &info) == 0 else { throw FileError("stat", path) }
        return FileStamp(info)
    }
}
