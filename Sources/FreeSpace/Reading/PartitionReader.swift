/// Asks the helper (`FreeSpaceProgram`) where the partitions of a disk begin, and the extents of LVM in them.
///
/// The answer is advice: a guest may change its partitions, and may lie about them.
public struct PartitionReader: Sendable {
    /// The most places of an answer: a partition and its extents each.
    private static let mostPlaces = 512

    private let helper: Helper

    /// - Parameters:
    ///   - program: a path of nearblock; this very program if it is nearblock.
    ///   - seconds: how long the helper may take.
    public init(program: String = Helper.thisProgram, seconds: Int = 10) {
        helper = Helper(program: program, argument: FreeSpaceProgram.partitionsArgument, seconds: seconds)
    }

    /// Returns the places, in bytes from the start of the disk and in any order; nil if the helper fails, or takes too long.
    /// Waits for the helper.
    /// - Parameter descriptor: the open disk.
    public func places(on descriptor: CInt) -> [UInt64]? {
        var places: [UInt64] = []
        do {
            try helper.run(on: descriptor) { run in
                guard places.count < Self.mostPlaces else { throw FreeSpaceError.malformed }
                places.append(run.start)
            }
        } catch {
            return nil
        }
        return places
    }
}
