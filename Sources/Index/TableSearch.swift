/// Looks an ascending batch of fingerprints up in one table.
///
/// It reads the chunks that the fences point to, those that lie close together in one go. Whatever can't be
/// read, or makes no sense, is a miss.
struct TableSearch: ~Copyable {
    /// Chunks a read: 64 KiB of fingerprints.
    private static let window = 32
    /// Reading this many chunks for nothing is cheaper than another system call.
    private static let gap = 4
    private static let chunkBytes = UInt64(TableHeader.chunk * Fingerprint.byteCount)

    private let table: Table
    private let keys = ReadBuffer(count: window * Int(chunkBytes))
    private let numbers = ReadBuffer(count: window * TableHeader.chunk * 8)
    /// Entries of the first chunk in the window and of all before it, then of the window.
    private var firstEntry = 0
    private var entries = 0
    private var hits: [(question: Int, entry: Int)] = []

    init(_ table: Table) {
        self.table = table
    }

    /// Calls `found` with the place in `batch` and the block, for each that is in the table, in ascending
    /// order.
    mutating func run(_ batch: [Fingerprint], found: (Int, UInt64) -> Void) {
        var index = 0
        while index < batch.count {
            guard var chunks = table.fences.chunks(for: batch[index].high) else {
                index += 1
                continue
            }
            let first = index
            index += 1
            while index < batch.count, let more = table.fences.chunks(for: batch[index].high),
                more.lowerBound <= chunks.upperBound + Self.gap,
                more.upperBound - chunks.lowerBound < Self.window
            {
                chunks = chunks.lowerBound...max(chunks.upperBound, more.upperBound)
                index += 1
            }
            search(batch, first..<index, in: chunks, found)
        }
    }

    private mutating func search(
        _ batch: [Fingerprint], _ questions: Range<Int>, in chunks: ClosedRange<Int>,
        _ found: (Int, UInt64) -> Void
    ) {
        guard load(chunks) else { return }
        hits.removeAll(keepingCapacity: true)
        var low = 0
        for question in questions {
            low = position(notBefore: batch[question], from: low)
            guard low < entries else { break }
            if key(low) == batch[question] { hits.append((question, low)) }
        }
        report(found)
    }

    private mutating func load(_ chunks: ClosedRange<Int>) -> Bool {
        firstEntry = chunks.lowerBound * TableHeader.chunk
        entries = min(chunks.count * TableHeader.chunk, Int(table.header.entryCount) - firstEntry)
        return table.file.read(
            into: keys.prefix(entries * Fingerprint.byteCount),
            at: table.fingerprintsAt + UInt64(chunks.lowerBound) * Self.chunkBytes)
    }

    private func key(_ entry: Int) -> Fingerprint {
        let start = entry * Fingerprint.byteCount
        return Fingerprint(bytes: .init(rebasing: keys.bytes[start..<start + Fingerprint.byteCount]))
    }

    /// The first entry of the window, at or after `low`, that is not below the fingerprint.
    private func position(notBefore fingerprint: Fingerprint, from low: Int) -> Int {
        // In a dense batch the answer is near, so the steps double from there.
        var (low, high, step) = (low, low, 1)
        while high < entries, key(high) < fingerprint {
            low = high + 1
            high = low + step
            step *= 2
        }
        high = min(high, entries)
        while low < high {
            let middle = low + (high - low) / 2
            if key(middle) < fingerprint { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Reads the block numbers of all hits at once.
    private func report(_ found: (Int, UInt64) -> Void) {
        guard let first = hits.first, let last = hits.last else { return }
        let width = table.header.blockWidth
        let bytes = numbers.prefix((last.entry - first.entry + 1) * width)
        let start = table.blocksAt + UInt64((firstEntry + first.entry) * width)
        guard table.file.read(into: bytes, at: start) else { return }
        for hit in hits {
            let block = number(at: (hit.entry - first.entry) * width, width: width)
            if block < table.header.blockCount { found(hit.question, block) }
        }
    }

    private func number(at offset: Int, width: Int) -> UInt64 {
        let low = UInt64(
            UInt32(littleEndian: numbers.bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        guard width == 6 else { return low }
        let high = UInt16(
            littleEndian: numbers.bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt16.self))
        return UInt64(high) << 32 | low
    }
}
