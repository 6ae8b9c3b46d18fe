import BlockModel
import MigrationProtocol
import NIOConcurrencyHelpers

/// The blocks of a disk that the destination has: of a moving one, those of rounds that it has confirmed. Any thread may
/// use it.
///
/// It is advice: the destination hashes a block before it uses it.
final class AgreedDisk: Sendable {
    private struct State {
        var isConfirmed = false
        /// Blocks that were sent since the last confirmation.
        var unconfirmed: BlockSet
    }

    /// The name of the disk for the destination.
    let name: MemoryOffer.Disk
    let manifest: FingerprintFile
    private let dirtyMap: DirtyMap
    private let state: NIOLockedValueBox<State>

    init(name: MemoryOffer.Disk, manifest: FingerprintFile, dirtyMap: DirtyMap) {
        self.name = name
        self.manifest = manifest
        self.dirtyMap = dirtyMap
        state = NIOLockedValueBox(State(unconfirmed: BlockSet(of: dirtyMap.geometry.blockCount)))
    }

    var geometry: BlockGeometry { dirtyMap.geometry }

    /// Whether a round has been confirmed.
    var isConfirmed: Bool { state.withLockedValue { $0.isConfirmed } }

    /// Records that ascending blocks are sent now.
    func send(_ blocks: some Sequence<UInt64>) {
        state.withLockedValue { state in for block in blocks { state.unconfirmed.insert(block..<block + 1) } }
    }

    /// Records that the destination has everything that was sent. Nothing may be sent meanwhile.
    func confirm() {
        state.withLockedValue { state in
            state.isConfirmed = true
            state.unconfirmed = BlockSet(of: geometry.blockCount)
        }
    }

    /// Takes out the blocks of which the destination has something else than the manifest says, as far as is known here.
    /// - Parameters:
    ///   - places: of a batch of pages. Those on other disks stay.
    ///   - disk: the number of this disk in `places`.
    func removeChanged(from places: inout [(disk: Int, block: UInt64)?], disk: Int) {
        state.withLockedValue { state in
            for index in places.indices {
                guard let place = places[index], place.disk == disk else { continue }
                let isHeld =
                    state.isConfirmed && !state.unconfirmed.contains(place.block) && !dirtyMap.isDirty(place.block)
                if !isHeld { places[index] = nil }
            }
        }
    }
}
