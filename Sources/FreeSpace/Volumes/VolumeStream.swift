/// The volumes of a disk as runs of the helper's `RunStream`. Each volume has two runs that tell of it, and then its free ones. All
/// starts are one higher than they are: 0 ends a stream.
enum VolumeStream {
    /// A number for each file system.
    private static let kinds = FileSystem.Kind.allCases
    /// Numbers of volumes that are taken from a helper.
    private static let mostVolumes = 256

    static func runs(of volume: Volume) -> [ByteRun] {
        let kind = volume.fileSystem.flatMap { FileSystem.Kind(rawValue: $0) }.flatMap { kinds.firstIndex(of: $0) }
        let about = volume.verdict.rawValue << 8 | UInt64(kind.map { $0 + 1 } ?? 0)
        return [
            ByteRun(start: volume.bytes.lowerBound + 1, length: UInt64(volume.bytes.count)),
            ByteRun(start: about + 1, length: UInt64(volume.free.count)),
        ] + volume.free.map { ByteRun(start: $0.lowerBound + 1, length: UInt64($0.count)) }
    }

    /// Puts volumes together from the runs of a helper, which may say anything.
    struct Reader {
        private(set) var volumes: [Volume] = []
        private var bytes: Range<UInt64>?
        private var left: UInt64 = 0
        private var total: UInt64 = 0

        /// Whether no volume lacks a part.
        var isWhole: Bool { left == 0 && bytes == nil }

        /// - Throws: `FreeSpaceError.malformed` if the run does not fit what came before.
        mutating func take(_ run: ByteRun) throws {
            let start = run.start - 1
            if left > 0 {
                guard let end = ByteRun(start: start, length: run.length).end, run.length > 0,
                    volumes[volumes.count - 1].bytes.contains(start),
                    end <= volumes[volumes.count - 1].bytes.upperBound,
                    volumes[volumes.count - 1].free.last.map({ $0.upperBound <= start }) ?? true
                else { throw FreeSpaceError.malformed }
                volumes[volumes.count - 1].free.append(start..<end)
                left -= 1
            } else if let bytes {
                try begin(bytes, start, run.length)
            } else {
                guard let end = ByteRun(start: start, length: run.length).end, run.length > 0 else {
                    throw FreeSpaceError.malformed
                }
                bytes = start..<end
            }
        }

        private mutating func begin(_ bytes: Range<UInt64>, _ about: UInt64, _ count: UInt64) throws {
            let kind = Int(about & 0xff)
            guard volumes.count < mostVolumes, kind <= kinds.count, let verdict = VolumeVerdict(rawValue: about >> 8),
                count <= UInt64(FreeSpaceReader.mostRuns) - total, count == 0 || verdict.tellsFree,
                kind > 0 || !verdict.tellsFree
            else { throw FreeSpaceError.malformed }
            volumes.append(
                Volume(bytes: bytes, fileSystem: kind > 0 ? kinds[kind - 1].rawValue : nil, verdict: verdict))
            self.bytes = nil
            left = count
            total += count
        }
    }
}
