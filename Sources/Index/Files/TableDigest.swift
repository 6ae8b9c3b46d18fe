import Glibc
import Hashing
import NIOConcurrencyHelpers

/// Digest of a table's fingerprints: the SHA-256 over the SHA-256 digests of each MiB. So all cores can compute it, and
/// holes in the file cost nothing.
enum TableDigest {
    private static let leaf: UInt64 = 1 << 20

    static func compute(_ file: IndexFile, _ range: Range<UInt64>, threads: Int) throws(TableFault) -> [UInt8] {
        do {
            return try compute(file, range, threads: threads) { true }
        } catch let fault as TableFault {
            throw fault
        } catch {
            throw .unreadable(EIO)
        }
    }

    /// - Parameter isWanted: Asked for each MiB, on any thread.
    /// - Throws: `TableFault`; `CancellationError` once `isWanted` returns false.
    static func compute(
        _ file: IndexFile, _ range: Range<UInt64>, threads: Int, while isWanted: @escaping @Sendable () -> Bool
    ) throws -> [UInt8] {
        let count = Int((UInt64(range.count) + leaf - 1) / leaf)
        let leaves = NIOLockedValueBox((next: 0, digests: [[UInt8]?](repeating: nil, count: count)))
        _ = try Workers.run(min(threads, max(1, count))) {
            while let index = leaves.withLockedValue({ state -> Int? in
                guard state.next < count else { return nil }
                defer { state.next += 1 }
                return state.next
            }) {
                guard isWanted() else { throw CancellationError() }
                let start = range.lowerBound + UInt64(index) * leaf
                let digest = try digest(file, start..<min(range.upperBound, start + leaf))
                leaves.withLockedValue { $0.digests[index] = digest }
            }
        }
        let root = SHA256Stream()
        // Leaves of zeros are left out, so each other leaf is hashed with its position.
        leaves.withLockedValue { state in
            for (index, digest) in state.digests.enumerated() {
                guard let digest else { continue }
                withUnsafeBytes(of: UInt64(index).littleEndian) { root.update($0) }
                digest.withUnsafeBytes { root.update($0) }
            }
        }
        return root.finish()
    }

    /// Returns nil if all bytes are zero.
    private static func digest(_ file: IndexFile, _ range: Range<UInt64>) throws(TableFault) -> [UInt8]? {
        guard let data = file.nextData(from: range.lowerBound), data.lowerBound < range.upperBound else { return nil }
        let buffer = ReadBuffer(count: range.count)
        guard file.read(into: buffer.bytes, at: range.lowerBound) else { throw file.readFault }
        let bytes = UnsafeRawBufferPointer(buffer.bytes)
        return isAllZero(bytes) ? nil : BlockHasher().digest(bytes)
    }
}
