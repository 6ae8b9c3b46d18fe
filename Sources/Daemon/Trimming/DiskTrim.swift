import Block
import BlockModel
import FreeSpace
import Glibc
import Ring

/// Punches the free blocks of cleanly unmounted file systems of one disk that nobody uses.
///
/// 1. It follows the disk's writes, and then makes durable what has been written.
/// 2. The helper reads which blocks are free.
/// 3. They are punched piece by piece behind a fence, by requests like those of a client, so that every dirty map has them. Each piece
///    is punched only if nobody has written since the first step. So nothing that is in use can be among them.
struct DiskTrim: Sendable {
    /// The most that is punched behind one fence: bytes, and runs.
    private static let piece = (bytes: 64 << 20 as UInt64, runs: 256)
    /// Unit of the map of writes: only whether there are some counts. Bytes.
    private static let mapUnit = 65536
    /// Bytes: a device takes whole sectors only.
    private static let deviceUnit: UInt64 = 4096

    /// Reads the parts of an open disk of a size; nil if that fails. Blocks its thread.
    typealias Reader = @Sendable (_ descriptor: CInt, _ size: UInt64, _ isWanted: () -> Bool) throws -> [Volume]?

    let name: String
    let disk: Disk
    let image: RawImage
    let loop: EventLoop
    let isDryRun: Bool
    /// Whether the operator says that no guest uses the disk, where its file systems can't tell.
    var isGuestOff = false
    /// Whether no client is connected.
    let isUnused: @Sendable () -> Bool
    var read: Reader = { try VolumeReader().volumes(on: $0, size: $1, while: $2) }

    private var client: DiskClient { DiskClient(disk: disk, loop: loop) }

    /// - Throws: `NodeError` if nothing can be trimmed, or somebody has come; `CancellationError`.
    func run(progress: @Sendable (TrimProgress) -> Void) async throws -> TrimReport {
        guard let geometry = BlockGeometry(size: disk.size, blockSize: Self.mapUnit) else {
            throw NodeError.unusable("\(name) is empty")
        }
        let writes = DirtyMap(geometry: geometry)
        await disk.follow(writes)
        let result: Result<TrimReport, any Error>
        do { result = .success(try await trim(writes, progress)) } catch { result = .failure(error) }
        await disk.unfollow(writes)
        return try result.get()
    }

    private func trim(_ writes: DirtyMap, _ progress: @Sendable (TrimProgress) -> Void) async throws -> TrimReport {
        guard isUnused() else { throw NodeError.unusable("\(name) has a client; disconnect it first") }
        // Otherwise a hole could outlive a crash of the host that the last writes to the file system do not.
        let error = await client.perform(.flush)
        guard error == 0 else { throw NodeError.unusable("\(image.path) can't be made durable: \(Self.words(error))") }
        let claim = try claimDevice()
        defer { claim.map { _ = close($0) } }
        var stamp = try image.stamp()
        let plan = try await plan()
        var report = TrimReport(export: name, dryRun: isDryRun, parts: plan.map(\.part))
        guard plan.contains(where: { $0.part.problem == nil }) else { throw NodeError.unusable(Self.refusal(report)) }
        let total = report.data
        var done: UInt64 = 0
        for (index, part) in plan.enumerated() where !isDryRun {
            for piece in Self.pieces(of: part.runs) {
                try Task.checkCancellation()
                try await punch(piece, writes, &stamp, after: done)
                let bytes = piece.reduce(0) { $0 + UInt64($1.count) }
                done += bytes
                report.parts[index].punched += bytes
                progress(TrimProgress(done: done, total: total))
            }
        }
        return report
    }

    /// Keeps others on this machine from mounting a device meanwhile. Its page cache is dropped: another machine may have
    /// written to the device since.
    /// - Returns: A descriptor that the caller closes; nil for a file.
    /// - Throws: `FileError`, with `EBUSY` if the device is mounted or part of another one; `open(2)`, O_EXCL.
    private func claimDevice() throws -> CInt? {
        guard image.isBlockDevice else { return nil }
        let descriptor = open(image.path, O_RDONLY | O_EXCL | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("have alone", image.path) }
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
        return descriptor
    }

    // MARK: Reading

    private struct PlannedPart: Sendable {
        var part: TrimReport.Part
        /// To be punched.
        var runs: [Range<UInt64>] = []
    }

    private func plan() async throws -> [PlannedPart] {
        let plan = try await InterruptibleThread.run { [self] isWanted in
            try read(image.descriptor, disk.size, isWanted)?.map { try planned($0, isWanted) }
        }
        guard let plan, !plan.isEmpty else {
            throw NodeError.unusable("\(name) can't be trimmed: its partitions and file systems can't be read")
        }
        return plan
    }

    private func planned(_ volume: Volume, _ isWanted: () -> Bool) throws -> PlannedPart {
        let part = TrimReport.Part(
            start: volume.bytes.lowerBound, size: UInt64(volume.bytes.count), fileSystem: volume.fileSystem, free: 0,
            data: 0, punched: 0, problem: isTrimmed(volume.verdict) ? nil : volume.verdict.reason)
        var planned = PlannedPart(part: part)
        guard isTrimmed(volume.verdict) else { return planned }
        planned.part.free = volume.free.reduce(0) { $0 + UInt64($1.count) }
        planned.runs = try data(in: volume.free, isWanted)
        planned.part.data = planned.runs.reduce(0) { $0 + UInt64($1.count) }
        return planned
    }

    private func isTrimmed(_ verdict: VolumeVerdict) -> Bool { verdict == .clean || isGuestOff && verdict == .untold }

    /// The parts of ascending runs that are no holes.
    private func data(in runs: [Range<UInt64>], _ isWanted: () -> Bool) throws -> [Range<UInt64>] {
        var found: [Range<UInt64>] = []
        // The last data that was found; many runs may lie in it.
        var data: Range<UInt64> = 0..<0
        for run in runs {
            guard isWanted() else { throw CancellationError() }
            var place = run.lowerBound
            while place < run.upperBound {
                if data.upperBound <= place {
                    guard let next = try image.nextData(from: place) else { return found }
                    data = next
                }
                let part = data.clamped(to: place..<run.upperBound)
                if part.isEmpty { break }
                if let whole = whole(part) { found.append(whole) }
                place = part.upperBound
            }
        }
        return found
    }

    /// The whole units of a run on a device, or the run in a file; nil if there is none.
    private func whole(_ run: Range<UInt64>) -> Range<UInt64>? {
        guard image.isBlockDevice else { return run }
        let start = (run.lowerBound + Self.deviceUnit - 1) / Self.deviceUnit * Self.deviceUnit
        let end = run.upperBound / Self.deviceUnit * Self.deviceUnit
        return start < end ? start..<end : nil
    }

    // MARK: Punching

    /// Divides runs so that no fence lasts long.
    static func pieces(of runs: [Range<UInt64>]) -> [[Range<UInt64>]] {
        var (pieces, last, bytes): ([[Range<UInt64>]], [Range<UInt64>], UInt64) = ([], [], 0)
        for run in runs {
            var place = run.lowerBound
            while place < run.upperBound {
                let end = min(run.upperBound, place + piece.bytes - bytes)
                last.append(place..<end)
                bytes += end - place
                place = end
                guard bytes == piece.bytes || last.count == piece.runs else { continue }
                pieces.append(last)
                (last, bytes) = ([], 0)
            }
        }
        return last.isEmpty ? pieces : pieces + [last]
    }

    private func punch(
        _ piece: [Range<UInt64>], _ writes: DirtyMap, _ stamp: inout ImageStamp, after done: UInt64
    ) async throws {
        await disk.fence()
        let problem = await punchFenced(piece, writes, &stamp)
        // Only this trim has written since the fence.
        var cursor: UInt64 = 0
        if problem == nil { _ = writes.take(from: &cursor, limit: .max) }
        await disk.unfence()
        guard let problem else { return }
        throw NodeError.unusable(
            "\(name): \(problem); \(done) bytes of free blocks have been punched, and nothing else")
    }

    /// - Returns: Why the piece has not been punched; nil if it has.
    private func punchFenced(
        _ piece: [Range<UInt64>], _ writes: DirtyMap, _ stamp: inout ImageStamp
    ) async -> String? {
        guard isUnused() else { return "a client has connected" }
        guard writes.count() == 0 else { return "the disk has been written to" }
        guard (try? image.stamp()) == stamp else { return "something else has written to \(image.path)" }
        for run in piece {
            let error = await punch(run)
            if error == ENOTSUP || error == EOPNOTSUPP { return "\(image.path) can't have holes where it is stored" }
            if error != 0 { return "can't punch \(run.count) bytes at \(run.lowerBound): \(Self.words(error))" }
        }
        guard let punched = try? image.stamp() else { return "\(image.path) can't be looked at any more" }
        stamp = punched
        return nil
    }

    private func punch(_ run: Range<UInt64>) async -> CInt {
        let (offset, length) = (run.lowerBound, UInt64(run.count))
        let error = await client.perform(
            .writeZeroes, offset: offset, length: length, mustBeFast: true, isBehindFence: true)
        // A thin pool frees blocks, and does not promise that they are zeros.
        guard error == ENOTSUP, image.isBlockDevice else { return error }
        return await client.perform(.trim, offset: offset, length: length, isBehindFence: true)
    }

    // MARK: Words

    private static func words(_ error: CInt) -> String { String(cString: strerror(error)) }

    private static func refusal(_ report: TrimReport) -> String {
        let parts = report.parts.map { part in
            "\(part.fileSystem ?? "part") at byte \(part.start): \(part.problem ?? "")"
        }
        return "\(report.export) can't be trimmed: \(parts.joined(separator: "; "))"
    }
}
