import Foundation
import Hashing
import Index

/// The fingerprints of a table file, read with one system call each time, as a migration reads those of its disks.
package final class TableDisk: FingerprintSource {
    package let blockCount: UInt64
    package let dataBlocksLimit: UInt64
    private let table: FileHandle
    private let start: UInt64

    /// - Parameter start: Offset of the first fingerprint.
    package init(_ neighbour: Neighbour, _ table: FileHandle, start: UInt64) {
        blockCount = neighbour.blocks
        dataBlocksLimit = neighbour.blocks - neighbour.zero
        self.table = table
        self.start = start
    }

    package func nextData(from block: UInt64) -> Range<UInt64>? { block..<blockCount }

    package func read(_ blocks: Range<UInt64>, into buffer: UnsafeMutableRawBufferPointer) throws {
        let offset = off_t(start + blocks.lowerBound * 16)
        guard pread(table.fileDescriptor, buffer.baseAddress, buffer.count, offset) == buffer.count else {
            throw CocoaError(.fileReadUnknown)
        }
    }

    /// The fingerprints of consecutive blocks; none if they can't be read.
    package func fingerprints(_ first: UInt64, _ count: Int) -> [Fingerprint] {
        var bytes = [UInt8](repeating: 0, count: count * 16)
        guard (try? bytes.withUnsafeMutableBytes { try read(first..<first + UInt64(count), into: $0) }) != nil else {
            return []
        }
        return bytes.withUnsafeBytes { all in
            (0..<count).map { Fingerprint(bytes: UnsafeRawBufferPointer(rebasing: all[$0 * 16..<$0 * 16 + 16])) }
        }
    }
}
