import Hashing
import Index
import MigrationCore
import NIOConcurrencyHelpers
import NIOPosix

/// Finds pages of a guest's memory among the blocks of its disks that both nodes have. Any thread may use it.
final class PageFinder: Sendable {
    let disks: [AgreedDisk]
    /// Built once every disk has been copied the first time. It reads the manifests, so that it knows later rounds' blocks.
    private let index = NIOLockedValueBox(FingerprintIndex?.none)

    init(disks: [AgreedDisk]) {
        self.disks = disks
    }

    /// Builds the index of the disks' blocks.
    /// - Parameters:
    ///   - directory: for its scratch files.
    ///   - isWanted: asked now and then, on any thread.
    /// - Throws: `FileError`; `CancellationError`.
    func build(
        in directory: String, on pool: NIOThreadPool, while isWanted: @escaping @Sendable () -> Bool
    ) async throws {
        let built = try await pool.runIfActive { [disks] in
            try FingerprintIndex(of: disks.map(\.manifest), directory: directory, threads: 1, isWanted: isWanted)
        }
        index.withLockedValue { $0 = built }
    }

    /// Finds a block for each page; nil if there is none.
    /// - Parameters:
    ///   - contents: of consecutive pages.
    ///   - readable: whether the destination can read each disk.
    func find(_ contents: [Fingerprint], readable: [Bool]) -> [(disk: Int, block: UInt64)?] {
        guard let index = index.withLockedValue({ $0 }) else { return contents.map { _ in nil } }
        var places = index.lookUp(contents).map { place in
            place.flatMap { readable[$0.disk] ? (disk: $0.disk, block: $0.block) : nil }
        }
        // The disks of a batch are few. Each is looked at under one lock.
        for disk in Set(places.compactMap { $0?.disk }) { disks[disk].removeChanged(from: &places, disk: disk) }
        return places
    }
}
