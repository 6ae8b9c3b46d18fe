import Foundation
import Hashing
import Index

/// Questions for an index, taken from its own table files by what `TableHeader` says of them.
package struct Samples {
    private let neighbours: [Neighbour]

    package init(_ index: NeighbourIndex) {
        neighbours = index.neighbours.filter { $0.distinct > 0 }
    }

    /// Fingerprints of blocks of any neighbours, in no order.
    package func scattered(_ count: Int) -> [Fingerprint] {
        var questions: [Fingerprint] = []
        let each = count / neighbours.count + 1
        for neighbour in neighbours {
            let table = try? FileHandle(forReadingFrom: URL(fileURLWithPath: neighbour.tableFile))
            for _ in 0..<each {
                let block = UInt64.random(in: 0..<neighbour.blocks)
                questions.append(Self.read(table, block, 1).first ?? .zero)
            }
        }
        return Array(questions.filter { $0 != .zero }.shuffled().prefix(count))
    }

    /// Fingerprints that nobody has.
    package func absent(_ count: Int) -> [Fingerprint] {
        (0..<count).map { _ in Fingerprint(high: .random(in: 1 ... .max), low: .random(in: 0 ... .max)) }
    }

    /// The blocks that are not zero of a disk that is nearly one neighbour, in the order of the disk.
    package func twin(_ count: Int, changedEvery: Int) -> [Fingerprint] {
        guard let largest = neighbours.max(by: { $0.distinct < $1.distinct }) else { return [] }
        let table = try? FileHandle(forReadingFrom: URL(fileURLWithPath: largest.tableFile))
        var questions: [Fingerprint] = []
        var block: UInt64 = 0
        while questions.count < count, block < largest.blocks {
            questions += Self.read(table, block, min(4096, Int(largest.blocks - block))).filter { $0 != .zero }
            block += 4096
        }
        for place in stride(from: 0, to: questions.count, by: changedEvery) {
            questions[place] = Fingerprint(high: .random(in: 1 ... .max), low: .random(in: 0 ... .max))
        }
        return questions
    }

    /// The largest neighbours, as the disks of one guest.
    package func disks(_ count: Int) -> [TableDisk] {
        neighbours.sorted { $0.distinct > $1.distinct }.prefix(count).compactMap { neighbour in
            guard let table = FileHandle(forReadingAtPath: neighbour.tableFile) else { return nil }
            return Self.start(table).map { TableDisk(neighbour, table, start: $0) }
        }
    }

    /// Pages of a guest's memory: runs of five or six blocks of its disks, and a bit more than twice as many other pages
    /// in between.
    package func memory(_ count: Int, of disks: [TableDisk]) -> [Fingerprint] {
        var pages: [Fingerprint] = []
        while pages.count < count, let disk = disks.randomElement() {
            let length = Int.random(in: 5...6)
            let first = UInt64.random(in: 0...disk.blockCount - min(disk.blockCount, UInt64(length)))
            pages += disk.fingerprints(first, length) + absent(.random(in: 12...14))
        }
        return pages
    }

    private static func read(_ table: FileHandle?, _ block: UInt64, _ count: Int) -> [Fingerprint] {
        guard let table, let start = start(table), let data = bytes(table, start + block * 16, count * 16) else {
            return []
        }
        return data.withUnsafeBytes { all in
            (0..<count).map { Fingerprint(bytes: UnsafeRawBufferPointer(rebasing: all[$0 * 16..<$0 * 16 + 16])) }
        }
    }

    /// Returns where the fingerprints begin.
    private static func start(_ table: FileHandle) -> UInt64? {
        guard let head = bytes(table, 48, 8) else { return nil }
        let lengths = head.withUnsafeBytes {
            (UInt64($0.loadUnaligned(as: UInt32.self)), UInt64($0.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
        }
        return (256 + lengths.0 + lengths.1 + 4095) / 4096 * 4096
    }

    private static func bytes(_ table: FileHandle, _ offset: UInt64, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return pread(table.fileDescriptor, &bytes, count, off_t(offset)) == count ? bytes : nil
    }
}
