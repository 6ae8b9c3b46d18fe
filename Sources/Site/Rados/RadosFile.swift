import Glibc
import Index
import NIOConcurrencyHelpers
import Rados

/// A file in a RADOS store, in pieces.
final class RadosFile: StoredFile {
    private let head: RadosHead
    private let pool: RadosPool
    /// For how long nobody waits for a file whose bytes did not come.
    private static let rest = Duration.seconds(30)
    private let isShort = NIOLockedValueBox(false)
    private let nextChecked = NIOLockedValueBox<UInt64>(0)
    private let restsUntil = NIOLockedValueBox<ContinuousClock.Instant?>(nil)

    init(_ head: RadosHead, in pool: RadosPool) {
        (self.head, self.pool) = (head, pool)
    }

    var size: UInt64 { head.size }
    var version: String { head.id }
    var isDamaged: Bool { isShort.withLockedValue { $0 } }
    var allocated: UInt64 {
        head.pieces.reduce(0) { sum, run in run.reduce(sum) { $0 + UInt64(head.count(ofPiece: $1)) } }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        guard offset <= size, UInt64(buffer.count) <= size - offset else { return false }
        let pieceSize = UInt64(RadosFiles.pieceSize)
        var done = 0
        while done < buffer.count {
            let place = offset + UInt64(done)
            let number = place / pieceSize
            let count = min(buffer.count - done, Int((number + 1) * pieceSize - place))
            let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
            if head.pieces.contains(where: { $0.contains(number) }) {
                guard let got = readPiece(number, into: part, at: place % pieceSize) else { return false }
                guard got == count else {
                    isShort.withLockedValue { $0 = true }
                    return false
                }
            } else {
                memset(part.baseAddress!, 0, count)
            }
            done += count
        }
        return true
    }

    func checkNext() {
        guard mayAsk else { return }
        let next = nextChecked.withLockedValue { $0 }
        guard let run = head.pieces.first(where: { $0.upperBound >= next }) else {
            nextChecked.withLockedValue { $0 = 0 }
            return
        }
        let number = max(next, run.lowerBound)
        guard let size = ask({ try pool.size(of: head.object(number)) }) else { return }
        if size != UInt64(head.count(ofPiece: number)) { isShort.withLockedValue { $0 = true } }
        nextChecked.withLockedValue { $0 = number + 1 }
    }

    /// Nobody waits again for a cluster that has just not answered; the next look at the site tries it.
    private var mayAsk: Bool { !pool.isAway && restsUntil.withLockedValue { $0.map { .now >= $0 } ?? true } }

    /// Returns nil if the cluster does not answer. Parts of a cluster may answer while others do not.
    private func ask<Answer>(_ body: () throws -> Answer) -> Answer? {
        do { return try body() } catch {
            restsUntil.withLockedValue { $0 = .now + Self.rest }
            return nil
        }
    }

    /// Reads a piece; nil if the cluster does not give it.
    private func readPiece(_ number: UInt64, into part: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int? {
        guard mayAsk else { return nil }
        return ask { try pool.read(head.object(number), into: part, at: offset) }
    }

    func nextData(from offset: UInt64) -> Range<UInt64>? {
        let pieceSize = UInt64(RadosFiles.pieceSize)
        guard offset < size, let run = head.pieces.first(where: { $0.upperBound >= offset / pieceSize }) else {
            return nil
        }
        return max(offset, run.lowerBound * pieceSize)..<min(size, (run.upperBound + 1) * pieceSize)
    }
}
