import BlockModel
import MigrationProtocol

/// The dirty bitmap of a disk that arrives, as its source says it behind the fence.
struct ArrivingBitmap: Sendable {
    let name: String
    private let current: DirtyMap
    private let shown: DirtyMap

    /// An empty bitmap.
    /// - Parameter size: bytes of the disk; more than 0.
    init(name: String, size: UInt64) {
        guard let geometry = BlockGeometry(size: size, blockSize: BitmapPart.blockSize) else {
            preconditionFailure("the size of a disk that was accepted")
        }
        self.name = name
        current = DirtyMap(geometry: geometry)
        shown = DirtyMap(geometry: geometry)
    }

    /// Adds what a message says. Its runs are within the disk.
    /// - Throws: `MigrationError.unexpected` if it is about another bitmap.
    func add(_ part: BitmapPart) throws {
        guard part.name == name else { throw MigrationError.unexpected("a second dirty bitmap of the disk") }
        let map = part.map == .shown ? shown : current
        for run in part.runs { map.mark(blocks: run.first..<run.first + run.count) }
    }

    /// Its bits, once all has been said.
    var bits: BitmapKeeper.Bits { BitmapKeeper.Bits(current: current.words, shown: shown.words) }
}
