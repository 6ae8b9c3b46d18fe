import NIOConcurrencyHelpers

/// Writes the entries of a catalogue, partition by partition, and counts what each bucket gets.
///
/// Any thread may append a partition; each waits for its turn.
final class CatalogueWriter: Sendable {
    /// Writes bytes at an offset of the catalogue's file, on any thread.
    typealias Output = @Sendable (UnsafeRawBufferPointer, UInt64) throws -> Void

    private struct State {
        var starts: [UInt32] = []
        var count: UInt64 = 0
    }

    private let header: CatalogueHeader
    private let write: Output
    private let state = NIOLockedValueBox(State())
    /// The partition to be written next; -1 after a failure.
    private let turn = ConditionLock(value: 0)

    /// - Parameter header: complete except for the digests and the number of entries.
    init(_ header: CatalogueHeader, to write: @escaping Output) {
        self.header = header
        self.write = write
    }

    /// Writes one partition after all earlier ones, for which it waits. Returns without writing after a failure
    /// elsewhere.
    /// - Parameters:
    ///   - entries: ascending, and greater than those of earlier partitions.
    ///   - number: the partition, from 0.
    ///   - buffer: at least as large as the entries; overwritten.
    /// - Throws: `FileError`; `IndexError.tooManyFingerprints`; every waiting thread is then released.
    func append(
        _ entries: UnsafeBufferPointer<CatalogueEntry>, turn number: Int, through buffer: UnsafeMutableRawBufferPointer
    ) throws {
        let bytes = encode(entries, into: buffer)
        while !turn.lock(whenValue: number, timeoutSeconds: 0.1) {
            if turn.value < 0 { return }
        }
        do {
            let first = try state.withLockedValue { try recordBuckets(of: entries, in: &$0) }
            try write(bytes, header.entriesRange.lowerBound + first * UInt64(header.entryWidth))
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

    /// Returns the header with the number of entries, and the number of each bucket's first entry. Call after all
    /// partitions.
    func finish() -> (CatalogueHeader, starts: [UInt32]) {
        var header = header
        return state.withLockedValue { state in
            header.entryCount = state.count
            let missing = header.bucketCount + 1 - state.starts.count
            state.starts.append(contentsOf: repeatElement(UInt32(state.count), count: missing))
            return (header, state.starts)
        }
    }

    /// Records at which entry each bucket starts, and counts the entries.
    /// - Returns: The number of the first entry.
    private func recordBuckets(of entries: UnsafeBufferPointer<CatalogueEntry>, in state: inout State) throws -> UInt64
    {
        let first = state.count
        guard first + UInt64(entries.count) <= UInt64(UInt32.max) else { throw IndexError.tooManyFingerprints }
        for (index, entry) in entries.enumerated() {
            let bucket = header.bucket(entry.high)
            while state.starts.count <= bucket { state.starts.append(UInt32(first) + UInt32(index)) }
        }
        state.count += UInt64(entries.count)
        return first
    }

    private func encode(
        _ entries: UnsafeBufferPointer<CatalogueEntry>, into bytes: UnsafeMutableRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        let width = header.entryWidth
        // Each entry is stored as 8 bytes; the next one overwrites the excess.
        for (index, entry) in entries.enumerated() {
            let number =
                header.rest(entry.high) << UInt64(header.blockBits + header.tableBits)
                | UInt64(entry.table) << UInt64(header.blockBits) | entry.block
            bytes.storeBytes(of: number.littleEndian, toByteOffset: index * width, as: UInt64.self)
        }
        return UnsafeRawBufferPointer(rebasing: bytes[..<(entries.count * width)])
    }
}
