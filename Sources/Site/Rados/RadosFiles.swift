import Block
import Foundation
import Index
import Rados

/// The files of a site in a pool of a Ceph cluster.
///
/// - A record is an object of its name.
/// - A folder is an object of its name. Its keys are the names of files, with their `RadosHead`, and of folders in it, with
///   nothing. So one request lists it, and one changes it.
/// - The bytes of a file are in objects `data/ID/NUMBER`, each of a piece.
/// - The ID of a file that is being written or removed stands in the folder as well, as `~ID`. So nothing is lost by a kill.
struct RadosFiles: SiteFiles {
    /// Bytes of a piece, well below the largest object that a cluster allows.
    static let pieceSize = 4 << 20
    private static let pendingPrefix = "~"
    /// Pieces that a change, or a removal of leftovers, removes at most; the next one goes on. An entry may name any number.
    static let piecesAtOnce = 4096

    let pool: RadosPool

    var name: String { pool.place.description }

    func checkExistence() throws { _ = try pool.contents("site.json", atMost: 1) }

    func read(_ record: String, atMost limit: Int) throws -> Data? { try pool.contents(record, atMost: limit) }

    func write(_ data: Data, to record: String) throws {
        try data.withUnsafeBytes { try pool.write(record, $0) }
    }

    func lastWritten(_ record: String) -> Date? { try? pool.lastChange(record) }

    func makeFolder(_ folder: String) throws {
        // The value that `RadosLease` compares must be there from the beginning.
        let attribute = RadosChange.setAttribute(RadosLease.attribute, value: RadosLease.none)
        try pool.change(folder, [.create, attribute], allowing: [EEXIST])
        guard let slash = folder.lastIndex(of: "/") else { return }
        try pool.change(
            String(folder[..<slash]), [.set(key: String(folder[folder.index(after: slash)...]), value: Data())])
    }

    func checkFolder(_ folder: String) throws {
        if try pool.size(of: folder) == nil { throw Self.absent(path(of: folder)) }
    }

    func names(in folder: String) throws -> [String] {
        guard let entries = try pool.entries(folder) else { throw Self.absent(path(of: folder)) }
        return entries.map(\.key).filter { !$0.hasPrefix(Self.pendingPrefix) }
    }

    func removeFolder(_ folder: String, _ isWanted: () -> Bool) throws {
        // A listing has a limit, and what is removed is not in the next one.
        var removed: Set<[UInt8]> = []
        while let entries = try pool.listing(folder)?.entries, !entries.isEmpty {
            guard removed.isDisjoint(with: entries.map(\.key)) else {
                throw SiteError.comesBack(folder: path(of: folder))
            }
            var others: [RadosChange] = []
            for entry in entries {
                if let head = RadosHead(entry.value) {
                    try forget(head, key: entry.key, in: folder, isWanted)
                } else {
                    others.append(.removeEntry(key: entry.key))
                }
            }
            if !others.isEmpty { try pool.change(folder, others) }
            removed = Set(entries.map(\.key))
            guard isWanted() else { throw CancellationError() }
        }
        try pool.remove("\(folder)/\(SiteStore.recordName)")
        try pool.remove(folder)
        guard let slash = folder.lastIndex(of: "/") else { return }
        // At last, so that a removal that was interrupted is tried again.
        try pool.change(String(folder[..<slash]), [.remove(key: String(folder[folder.index(after: slash)...]))])
    }

    func folder(_ folder: String) -> any SiteFolder { RadosFolder(object: folder, pool: pool) }

    func change(_ folder: String, _ change: SiteFolderChange, _ isWanted: () -> Bool) throws {
        var steps: [RadosChange] = []
        if let lease = change.lease {
            guard let fence = (lease as? RadosLease)?.fence else { throw SiteError.lostLease(store: name) }
            steps.append(.expect(attribute: RadosLease.attribute, value: fence))
        }
        // Files that lose their names.
        var gone = try change.removed.compactMap { try self.head(of: $0, in: folder) }
        steps += change.removed.map { .remove(key: $0) }
        var new: RadosHead?
        if let (source, name) = change.file {
            let head = try upload(source, of: change.host, to: folder, isWanted)
            new = head
            steps += [.remove(key: Self.pendingPrefix + head.id), .set(key: name, value: try head.encoded())]
            if let old = try self.head(of: name, in: folder) { gone.append(old) }
        }
        steps += try gone.map { head in
            .set(key: Self.pendingPrefix + head.id, value: try head.of(change.host).encoded())
        }
        // After an error the store may have made the change. If it has not, the note is there, and the next turn goes by it.
        guard try pool.change(folder, steps, allowing: [ECANCELED]) >= 0 else {
            if let new { try? forget(new, key: Self.note(of: new), in: folder) { true } }
            throw SiteError.lostLease(store: name)
        }
        try forget(gone, in: folder, isWanted)
    }

    /// The head of a file; nil if there is none. It needs no listing, which may be too long.
    private func head(of name: String, in folder: String) throws -> RadosHead? {
        try pool.value(of: name, in: folder).flatMap { RadosHead($0) }
    }

    func removeLeftovers(in folder: String, isOf: (String) -> Bool, _ isWanted: () -> Bool) throws {
        let left = (try pool.entries(folder) ?? []).compactMap { key, value -> RadosHead? in
            guard key.hasPrefix(Self.pendingPrefix), let head = RadosHead(value), key.dropFirst() == head.id else {
                return nil
            }
            return isOf(head.host) ? head : nil
        }
        try forget(left, in: folder, isWanted)
    }

    func temporaryFiles(in folder: String) -> [String: UInt64] { [:] }

    func makeLease(host: String) -> any SiteLease { RadosLease(host: host, in: pool) }

    // MARK: Bytes

    private func upload(
        _ source: String, of host: String, to folder: String, _ isWanted: () -> Bool
    ) throws -> RadosHead {
        let input = open(source, O_RDONLY | O_CLOEXEC)
        guard input >= 0 else { throw FileError("open", source) }
        defer { close(input) }
        var info = stat()
        guard fstat(input, &info) == 0 else { throw FileError("read", source) }
        var head = RadosHead(size: UInt64(info.st_size), host: host)
        guard head.pieceCount <= RadosHead.mostPieces else { throw SiteError.tooLarge(file: source) }
        // All pieces may come to be there before this ends.
        try pool.change(
            folder, [.set(key: Self.pendingPrefix + head.id, value: try head.withAllPieces().encoded())])
        do {
            try withUnsafeTemporaryAllocation(byteCount: Self.pieceSize, alignment: 4096) { buffer in
                for number in 0..<head.pieceCount {
                    guard isWanted() else { throw CancellationError() }
                    let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<head.count(ofPiece: number)])
                    try Self.fill(bytes, from: input, at: number * UInt64(Self.pieceSize), source)
                    if bytes.contains(where: { $0 != 0 }) {
                        try pool.write(head.object(number), UnsafeRawBufferPointer(bytes))
                        head.add(number)
                    }
                }
            }
        } catch {
            try? forget(head.withAllPieces(), key: Self.note(of: head), in: folder) { true }
            throw error
        }
        return head
    }

    private static func fill(
        _ buffer: UnsafeMutableRawBufferPointer, from input: CInt, at offset: UInt64, _ path: String
    ) throws {
        var done = 0
        while done < buffer.count {
            let count = pread(input, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
            guard count > 0 else { throw FileError("read", path, code: count == 0 ? EIO : errno) }
            done += count
        }
    }

    /// The key of the note about a file that has no name yet, or none any more.
    private static func note(of head: RadosHead) -> [UInt8] { Array((pendingPrefix + head.id).utf8) }

    /// Removes files that have no names any more, as far as one call may.
    private func forget(_ heads: [RadosHead], in folder: String, _ isWanted: () -> Bool) throws {
        var left = Self.piecesAtOnce
        do {
            for head in heads {
                try forget(head, key: Self.note(of: head), in: folder) {
                    left -= 1
                    return left >= 0 && isWanted()
                }
            }
        } catch is CancellationError where left < 0 {
            // The notes say what is left.
        }
    }

    /// Removes the pieces of a file, then the entry that names them.
    /// - Throws: `CancellationError` once `isWanted` returns false: a note then says which pieces are left.
    private func forget(
        _ head: RadosHead, key: [UInt8], in folder: String, _ isWanted: () -> Bool
    ) throws {
        for range in head.pieces {
            for number in range {
                guard isWanted() else {
                    let rest = try head.from(number).encoded()
                    try pool.change(
                        folder, [.removeEntry(key: key), .set(key: Self.pendingPrefix + head.id, value: rest)])
                    throw CancellationError()
                }
                try pool.remove(head.object(number))
            }
        }
        try pool.change(folder, [.removeEntry(key: key)])
    }

    private static func absent(_ path: String) -> FileError { FileError("list", path, code: ENOENT) }
}
