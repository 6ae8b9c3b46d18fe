import BlockModel
import Glibc

/// Asks the helper (`FreeSpaceProgram`) which blocks of a disk its file systems call free.
///
/// The answer is advice: a guest writes to its file systems meanwhile, and may lie about them.
public struct FreeSpaceReader: Sendable {
    /// The most runs of an answer. Their bytes are read and not kept.
    public static let mostRuns = 1 << 22

    private let helper: Helper

    /// - Parameters:
    ///   - program: a path of nearblock; this very program if it is nearblock.
    ///   - seconds: how long the helper may take.
    public init(program: String = Helper.thisProgram, seconds: Int = 10) {
        helper = Helper(program: program, argument: FreeSpaceProgram.argument, seconds: seconds)
    }

    /// Returns the blocks that are free as a whole; none if the helper fails, or takes too long. Waits for the helper.
    /// - Parameter descriptor: the open disk.
    public func free(on descriptor: CInt, _ geometry: BlockGeometry) -> BlockSet {
        var free = BlockSet(of: geometry.blockCount)
        guard (try? helper.run(on: descriptor, { try add($0, to: &free, geometry) })) != nil else {
            return BlockSet(of: geometry.blockCount)
        }
        return free
    }

    /// Adds the blocks that lie in a run as a whole; the last block of a disk may be short.
    private func add(_ run: ByteRun, to free: inout BlockSet, _ geometry: BlockGeometry) throws {
        guard let end = run.end, end <= geometry.diskSize else { throw FreeSpaceError.malformed }
        let blocks = geometry.blocks(withinDisk: run.start..<end)
        if !blocks.isEmpty { free.insert(blocks) }
    }
}
