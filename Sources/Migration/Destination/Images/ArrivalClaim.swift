import Block
import BlockModel
import Foundation
import Glibc
import MigrationProtocol

/// The space that one disk takes at a destination while it arrives, and once it is there.
struct ArrivalClaim: Sendable {
    /// Bytes of index and scratch space that a block takes while a node indexes a disk: docs/limits.md.
    private static let indexedBlock: UInt64 = 41
    private static let fingerprint: UInt64 = 16

    /// The bytes that a disk takes in one folder.
    struct Part: Equatable {
        let folder: String
        let bytes: UInt64
    }

    /// The image's file, which may not be there yet, or device; nil if it is not known yet.
    let imagePath: String?
    /// Bytes of the disk that are to be in it.
    let dataBytes: UInt64
    private let beside: [Part]

    /// - Parameters:
    ///   - dataBytes: at most the size of the disk.
    ///   - besides: bytes of data of other disks.
    ///   - images: the folder of its manifest and its present map.
    ///   - index: the index to which the disk is added; nil for none.
    init(
        imagePath: String?, geometry: BlockGeometry, dataBytes: UInt64, besides: UInt64 = 0, images: String,
        state: String, index: String?
    ) {
        self.imagePath = imagePath
        self.dataBytes = min(dataBytes, geometry.size)
        let data = self.dataBytes.addingClamped(besides)
        let blocks = data / UInt64(geometry.blockSize) + 1
        var beside = [
            Part(folder: images, bytes: besides),
            Part(folder: images, bytes: blocks.multipliedClamped(by: Self.fingerprint)),
            Part(folder: images, bytes: PresentMapStore.bytes(for: geometry)),
            Part(folder: state, bytes: blocks.multipliedClamped(by: Self.fingerprint)),
        ]
        if let index { beside.append(Part(folder: index, bytes: blocks.multipliedClamped(by: Self.indexedBlock))) }
        self.beside = beside
    }

    /// The bytes that it will still take: those that the image has allocated already are not needed again.
    var parts: [Part] {
        guard let imagePath, let allocated = Self.allocated(imagePath) else { return beside }
        let path = ImagePath.absolute(imagePath)
        // An image on another server takes no room here.
        guard path.hasPrefix("/") else { return beside }
        let folder = (path as NSString).deletingLastPathComponent
        let needed = dataBytes - min(dataBytes, allocated)
        return [Part(folder: folder, bytes: needed)] + beside
    }

    /// Bytes; nil for a device, which takes nothing of the file system that has its name.
    private static func allocated(_ path: String) -> UInt64? {
        var info = stat()
        guard stat(path, &info) == 0 else { return 0 }
        return info.st_mode & S_IFMT == S_IFBLK ? nil : UInt64(info.st_blocks) * 512
    }
}
