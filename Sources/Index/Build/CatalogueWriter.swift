import Glibc
import Hashing
import NIOConcurrencyHelpers

/// Writes a catalogue into a new file: the partitions of entries in order, then the header, tables and bucket starts.
///
/// Any thread may append a partition; each waits for its turn.
final class CatalogueWriter: Sendable {
    private struct State {
        var starts: [UInt32] = []
        var count: UInt64 = 0
    }

    private let header: CatalogueHeader
    private let file: TemporaryFile
    private let state = NIOLockedValueBox(State())
    /// The partition to be written next; -1 after a failure.
    private let turn = ConditionLock(value: 0)

    /// - Parameter header: complete except for the digests and the number of entries.
    init(_ header: CatalogueHeader, _ file: TemporaryFile) {
        self.header = header
        self.file = file
    }

    /// Writes one partition after all earlier ones, for which it waits. Returns without writing after a failure
    /// elsewhere.
    /// - Parameters:
    ///   - entries: ascending, and greater than those of earlier partitions.
    ///   - number: the partition, from 0.
    /// - Throws: `FileError`; every waiting thread is then released.
    func append(_ entries: [CatalogueEntry], turn number: Int) throws {
        let bytes = encode(entries)
        while !turn.lock(whenValue: number, timeoutSeconds: 0.1) {
            if turn.value < 0 { return }
        }
        do {
            let first = state.withLockedValue { recordBuckets(of: entries, in: &$0) }
            try bytes.withUnsafeBytes {
                try file.write($0, at: header.entriesRange.lowerBound + first * UInt64(header.entryWidth))
            }
        } catch {
            turn.unlock(withValue: -1)
            throw error
        }
        turn.unlock(withValue: number + 1)
    }

    /// Releases all threads that wait for a turn, because an earlier partition failed.
    func giveUp() {
        turn.lock()
        turn.unlock(withValue: -1)
    }

    /// Writes the header, the list of tables and the bucket starts. Call after all partitions.
    func finish(tables: [UInt8]) throws -> CatalogueHeader {
        var header = header
        let starts = state.withLockedValue { state -> [UInt32] in
            header.entryCount = state.count
            let missing = header.bucketCount + 1 - state.starts.count
            return state.starts + [UInt32](repeating: UInt32(state.count), count: missing)
        }
        try file.setSize(header.fileSize)
        try tables.withUnsafeBytes {
            header.tablesDigest = BlockHasher().digest($0)
            try file.write($0, at: header.tablesRange.lowerBound)
        }
        try starts.withUnsafeBytes {
            header.startsDigest = BlockHasher().digest($0)
            try file.write($0, at: header.startsRange.lowerBound)
        }
        file.beginWritingOut()
        header.entriesDigest = try TableDigest.compute(try file.reopened(), header.entriesRange, threads: 2)
        try header.encode().withUnsafeBytes { try file.write($0, at: 0) }
        return header
    }

    /// Records at which entry each bucket starts, and counts the entries.
    /// - Returns: The number of the first entry.
    private func recordBuckets(of entries: [CatalogueEntry], in state: inout State) -> UInt64 {
        let first = state.count
        for (index, entry) in entries.enumerated() {
            let bucket = header.bucket(entry.high)
            while state.starts.count <= bucket { state.starts.append(UInt32(first) + UInt32(index)) }
        }
        state.count += UInt64(entries.count)
        return first
    }

    private func encode(_ entries: [CatalogueEntry]) -> [UInt8] {
        let width = header.entryWidth
        // Each entry is stored as 8 bytes; the next one overwrites the excess.
        let count = entries.count * width
        return [UInt8](unsafeUninitializedCapacity: count + 8) { bytes, initialized in
            let target = UnsafeMutableRawBufferPointer(bytes)
            for (index, entry) in entries.enumerated() {
                let number =
                    header.rest(entry.high) << UInt64(header.blockBits + header.tableBits)
                    | UInt64(entry.table) << UInt64(header.blockBits) | entry.block
                target.storeBytes(of: number.littleEndian, toByteOffset: index * width, as: UInt64.self)
            }
            initialized = count
        }
    }
}
