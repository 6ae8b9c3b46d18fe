/// Looks at all parts of an open disk, for a trim. In the helper.
struct VolumeSurvey {
    /// File systems that look the same while they are mounted and nothing has changed for a moment. A mounted btrfs also
    /// writes into blocks that its last commit calls free.
    private static let untold: Set<FileSystem.Kind> = [.btrfs, .ntfs]

    /// Ascending.
    let volumes: [Volume]

    init(of descriptor: CInt) {
        let table = PartitionTable(of: descriptor)
        let parts = table.parts.sorted { $0.start < $1.start }
        let contents = parts.map { FileSystem.content(of: $0) }
        let isAsleep = contents.contains(.sleeping)
        let isWithin = Self.isWithin(parts, on: descriptor)
        volumes = parts.indices.map { index in
            let bytes = parts[index].start..<parts[index].start + parts[index].size
            var volume = Volume(bytes: bytes, fileSystem: contents[index].kind?.rawValue, verdict: .unknown)
            guard let kind = contents[index].kind else { return volume }
            if table.hasDynamicDisk {
                volume.verdict = .unsupported
            } else if isWithin || Self.overlaps(index, parts) {
                volume.verdict = .overlapping
            } else if isAsleep {
                volume.verdict = .asleep
            } else {
                (volume.verdict, volume.free) = Self.judge(FileSystem(kind: kind, bytes: parts[index]))
            }
            return volume
        }
    }

    /// Whether the whole disk has a file system, too. Then an old partition table is left in front of it, or within it.
    private static func isWithin(_ parts: [DiskBytes], on descriptor: CInt) -> Bool {
        guard let last = parts.map({ $0.start + $0.size }).max(), parts.count > 1 || parts[0].start > 0 else {
            return false
        }
        // A size of 0 is all of the disk.
        return last > 0 && FileSystem.content(of: DiskBytes(descriptor: descriptor, start: 0, size: 0)) != .nothing
    }

    private static func overlaps(_ index: Int, _ parts: [DiskBytes]) -> Bool {
        let own = parts[index]
        return parts.indices.contains { other in
            other != index && parts[other].start < own.start + own.size
                && own.start < parts[other].start + parts[other].size
        }
    }

    private static func judge(_ system: FileSystem) -> (VolumeVerdict, [Range<UInt64>]) {
        do {
            let source = try system.freeSpace(isExact: true)
            try source.checkIsClean()
            var free: [Range<UInt64>] = []
            try source.forEach { run in
                guard let end = run.end, end <= system.bytes.size, run.length > 0, free.count < FreeSpaceReader.mostRuns
                else { throw FreeSpaceError.malformed }
                free.append(system.bytes.start + run.start..<system.bytes.start + end)
            }
            return (Self.untold.contains(system.kind) ? .untold : .clean, try ascending(free))
        } catch {
            return (verdict(for: error), [])
        }
    }

    /// The runs in their order, those that touch as one.
    /// - Throws: `FreeSpaceError.malformed` if any byte is in two.
    private static func ascending(_ runs: [Range<UInt64>]) throws -> [Range<UInt64>] {
        var merged: [Range<UInt64>] = []
        for run in runs.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            guard let last = merged.last, last.upperBound >= run.lowerBound else {
                merged.append(run)
                continue
            }
            guard last.upperBound == run.lowerBound else { throw FreeSpaceError.malformed }
            merged[merged.count - 1] = last.lowerBound..<run.upperBound
        }
        return merged
    }

    private static func verdict(for error: any Error) -> VolumeVerdict {
        switch error as? FreeSpaceError {
        case .notClean: .notClean
        case .asleep: .asleep
        case .unsupported: .unsupported
        case .unreadable, .malformed, .refused, .system, nil: .damaged
        }
    }
}
