/// Asks the helper (`FreeSpaceProgram`) which parts of a disk may be trimmed, and what is free in them.
///
/// The answer holds as long as nobody writes to the disk, from before it is asked for.
public struct VolumeReader: Sendable {
    private let helper: Helper

    /// - Parameters:
    ///   - program: a path of nearblock; this very program if it is nearblock.
    ///   - seconds: how long the helper may take.
    public init(program: String = Helper.thisProgram, seconds: Int = 300) {
        helper = Helper(program: program, argument: FreeSpaceProgram.volumesArgument, seconds: seconds)
    }

    /// Returns the parts, ascending; nil if the helper fails, or takes too long. Waits for the helper.
    /// - Parameters:
    ///   - descriptor: the open disk.
    ///   - size: bytes of the disk; it may be shorter than what is open.
    ///   - isWanted: asked several times a second; once false, the helper is ended.
    /// - Throws: `CancellationError`.
    public func volumes(on descriptor: CInt, size: UInt64, while isWanted: () -> Bool) throws -> [Volume]? {
        var reader = VolumeStream.Reader()
        do {
            try helper.run(on: descriptor, while: isWanted) { try reader.take($0) }
        } catch let error as CancellationError {
            throw error
        } catch {
            return nil
        }
        guard reader.isWhole else { return nil }
        return reader.volumes.map { volume in
            volume.bytes.upperBound <= size
                ? volume : Volume(bytes: volume.bytes, fileSystem: volume.fileSystem, verdict: .damaged)
        }
    }
}
