import BlockModel
import Glibc

/// Stores a `DurablePresentMap` in two files.
///
/// Only `write` changes `PATH.map`, after the image is durable: a machine that crashed continues from it. `PATH.live`
/// is the map itself, in memory shared with the file. If only the process ended, the kernel still has the image's
/// pages and this map of all acknowledged writes. `PATH.live` is valid only for the boot in which it was made.
public final class PresentMapStore: Sendable {
    private static let headerBytes = 4096
    private static let pageBytes = MapPage.words * 8
    private static let magic: UInt64 = 0x6e65_6172_6d61_7031

    /// The map.
    public let map: DurablePresentMap
    private let file: RawImage
    private let memory: MappedMemory
    private let path: String

    /// The most bytes that the files of a disk take.
    public static func bytes(for geometry: BlockGeometry) -> UInt64 {
        let pages = DurablePresentMap.paddedCount(geometry) / MapPage.blocks
        return 2 * (UInt64(headerBytes) + pages * UInt64(2 * pageBytes))
    }

    /// Creates the files for a disk. The blocks in `present` must be durable, and all of them come from the source.
    /// - Throws: `FileError`.
    public static func create(path: String, geometry: BlockGeometry, present: PresentMap) throws -> PresentMapStore {
        remove(path: path)
        let pages = DurablePresentMap.paddedCount(geometry) / MapPage.blocks
        let file = try RawImage.create(
            path: "\(path).map", size: UInt64(headerBytes) + pages * UInt64(2 * pageBytes))
        // The space is reserved now, so that a flush can't fail for want of room in the map.
        try file.reserve()
        try writeHeader(file, geometry)
        for index in 0..<Int(pages) {
            let words = (0..<MapPage.words).map { word -> UInt64 in
                let word = index * MapPage.words + word
                return word < present.bitmap.numberOfWords ? present.bitmap.word(at: word) : 0
            }
            guard words.contains(where: { $0 != 0 }) else { continue }
            try writePage(MapPage(index: index, present: words, taken: words), to: file)
        }
        try file.synchronize()
        return try PresentMapStore(path: path, geometry: geometry, file: file)
    }

    /// Opens the files that `create` made.
    /// - Throws: `FileError`; with `EINVAL` if the files belong to another disk.
    public convenience init(path: String, geometry: BlockGeometry) throws {
        try self.init(
            path: path, geometry: geometry, file: RawImage(path: "\(path).map", access: .readWrite, followsLink: false))
    }

    private init(path: String, geometry: BlockGeometry, file: RawImage) throws {
        self.path = path
        self.file = file
        let pages = Int(DurablePresentMap.paddedCount(geometry) / MapPage.blocks)
        guard try Self.header(of: file) == Self.header(of: geometry),
            file.size == UInt64(Self.headerBytes + pages * 2 * Self.pageBytes)
        else { throw FileError("use as the present map of this disk", file.path, code: EINVAL) }
        let live = "\(path).live"
        let boot = MachineBoot.current
        let isCurrent = Self.liveBoot(live) == boot && boot != 0
        let descriptor = Glibc.open(live, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw FileError("create", live) }
        defer { close(descriptor) }
        let mapBytes = pages * Self.pageBytes
        memory = try MappedMemory(descriptor, count: Self.headerBytes + 2 * mapBytes, path: live)
        let count = DurablePresentMap.paddedCount(geometry)
        let start = memory.address + Self.headerBytes
        if !isCurrent { memset(memory.address, 0, Self.headerBytes + 2 * mapBytes) }
        map = DurablePresentMap(
            geometry: geometry, present: AtomicBitmap(count: count, in: start, of: memory),
            taken: AtomicBitmap(count: count, in: start + mapBytes, of: memory))
        if isCurrent {
            // Changes that were not durable are written by the next flush.
            map.touchAll()
        } else {
            for index in 0..<pages { map.load(try Self.readPage(index, from: file)) }
            memory.address.storeBytes(of: boot, as: UInt64.self)
        }
    }

    /// Makes changes of the map durable. The image must already be durable as it was when they were taken.
    /// - Throws: `FileError`.
    public func write(_ pages: [MapPage]) throws {
        guard !pages.isEmpty else { return }
        for page in pages { try Self.writePage(page, to: file) }
        try file.synchronize()
    }

    /// Invalidates `PATH.live` after a failure to make the image durable, since the kernel may have dropped its pages.
    /// The next process then continues from `PATH.map`, as after a crash of the machine.
    public func distrustMemory() { memory.address.storeBytes(of: 0, as: UInt64.self) }

    /// Removes the files of a disk that is complete.
    public static func remove(path: String) {
        unlink("\(path).live")
        unlink("\(path).map")
    }

    /// Removes the files.
    public func remove() { Self.remove(path: path) }

    private static func writePage(_ page: MapPage, to file: RawImage) throws {
        var words = page.present + page.taken
        try words.withUnsafeMutableBytes {
            try file.write(UnsafeRawBufferPointer($0), at: UInt64(headerBytes + page.index * 2 * pageBytes))
        }
    }

    private static func readPage(_ index: Int, from file: RawImage) throws -> MapPage {
        var words = [UInt64](repeating: 0, count: 2 * MapPage.words)
        try words.withUnsafeMutableBytes {
            try file.read(into: $0, at: UInt64(headerBytes + index * 2 * pageBytes))
        }
        // A crash may have come between marking present and marking taken.
        let present = Array(words[..<MapPage.words])
        let taken = (0..<MapPage.words).map { words[MapPage.words + $0] & present[$0] }
        return MapPage(index: index, present: present, taken: taken)
    }

    private static func writeHeader(_ file: RawImage, _ geometry: BlockGeometry) throws {
        let words = header(of: geometry)
        try words.withUnsafeBytes { try file.write($0, at: 0) }
    }

    /// The last word is 0 in files of earlier releases, which know no layouts.
    private static func header(of geometry: BlockGeometry) -> [UInt64] {
        [magic, geometry.size, UInt64(geometry.blockSize), geometry.layout?.digest ?? 0]
    }

    private static func header(of file: RawImage) throws -> [UInt64] {
        var words: [UInt64] = [0, 0, 0, 0]
        try words.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        return words
    }

    /// The boot in which a live map was made; 0 if there is none.
    private static func liveBoot(_ path: String) -> UInt64 {
        var boot: UInt64 = 0
        guard let file = try? RawImage(path: path, access: .readOnly, followsLink: false),
            file.size >= UInt64(headerBytes),
            (try? withUnsafeMutableBytes(of: &boot) { try file.read(into: $0, at: 0) }) != nil
        else { return 0 }
        return boot
    }
}
