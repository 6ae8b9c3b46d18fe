import Block
import BlockModel
import Foundation
import Hashing
import MigrationProtocol

/// Keeps a dirty bitmap of an image over a clean restart of the node.
///
/// The bits are in a file beside their record, 64 blocks in each word, the lowest first. Without its record, a file says that
/// a node has taken the bitmap and has not ended cleanly.
public struct BitmapKeeper: Sendable {
    /// The bits of a bitmap.
    public struct Bits: Equatable, Sendable {
        /// Blocks written since the last checkpoint.
        public let current: [UInt64]
        /// Blocks that the last checkpoint shows.
        public let shown: [UInt64]

        /// - Parameters:
        ///   - current: one bit for each block.
        ///   - shown: as many words.
        public init(current: [UInt64], shown: [UInt64]) {
            precondition(current.count == shown.count, "two maps of one disk")
            self.current = current
            self.shown = shown
        }
    }

    /// The saved bitmap that a node finds.
    public enum Found: Equatable, Sendable {
        case nothing
        case valid(Bits)
        /// The blocks that were written are not known, for this reason.
        case invalid(String)
    }

    private let directory: StateDirectory
    private let image: any DiskImage
    private let bitmap: String
    private let stamps: @Sendable () throws -> [ImageStamp]?
    private let name: String

    /// - Parameters:
    ///   - bitmap: the bitmap's name.
    ///   - stamps: reads the stamps of all files on which the disk's contents depend, the image's first. nil says that nobody
    ///     can tell whether something else has written to one.
    /// - Returns: nil if `stamps` does, or the image can't be known again.
    /// - Throws: `FileError`.
    public init?(
        directory: StateDirectory, image: any DiskImage, bitmap: String,
        stamps: @escaping @Sendable () throws -> [ImageStamp]?
    ) throws {
        guard try stamps() != nil, let identity = try image.identity() else { return nil }
        self.directory = directory
        self.image = image
        self.bitmap = bitmap
        self.stamps = stamps
        name = StateDirectory.key(BitmapRecord.prefix, path: "\(identity.key)\n\(bitmap)")
    }

    private var file: String { "\(directory.scratch)/\(name).bits" }

    /// Takes the saved bitmap: it counts once, since a node that crashes later has not saved it again. Durable on return.
    /// - Throws: if the record can't be read or removed; the bitmap must not be used then.
    public func take() throws -> Found {
        guard let record = try directory.read(BitmapRecord.self, from: name) else {
            guard FileManager.default.fileExists(atPath: file) else { return .nothing }
            return .invalid("the node did not end cleanly")
        }
        try directory.remove(name)
        guard try record.image.identity.map({ known in try image.identity()?.isSame(as: known) ?? false }) ?? false,
            record.bitmap == bitmap
        else { return .invalid("it is another image's") }
        guard record.size == image.size, record.blockSize == BlockGeometry.standardBlockSize else {
            return .invalid("the image had \(record.size) bytes then")
        }
        guard try [record.stamp] + (record.others ?? []) == stamps() else {
            let files = record.others == nil ? "has" : "or one of its backing files has"
            return .invalid("\(image.path) \(files) been changed while no node served it")
        }
        guard let bits = try? read(record) else { return .invalid("\(file) is damaged or missing") }
        return .valid(bits)
    }

    /// Saves a bitmap, durably. Nothing may write to the image any more.
    /// - Throws: `FileError`; the bitmap is then invalid at the next start.
    public func save(_ bits: Bits) throws {
        guard let stamps = try stamps() else {
            throw FileError("tell the state of all files of", image.path, code: ENOTSUP)
        }
        let data = (bits.current + bits.shown).map(\.littleEndian).withUnsafeBytes { Data($0) }
        try data.write(to: URL(fileURLWithPath: file), options: .atomic)
        let saved = try RawImage(path: file, access: .readOnly, followsLink: false)
        try saved.synchronize()
        try directory.flush(directory: directory.scratch)
        try directory.write(
            BitmapRecord(
                bitmap: bitmap, image: try RecordedImage(image), stamp: stamps[0],
                others: stamps.count > 1 ? Array(stamps[1...]) : nil, size: image.size,
                blockSize: BlockGeometry.standardBlockSize, digest: Self.digest(data)),
            as: name)
    }

    private func read(_ record: BitmapRecord) throws -> Bits? {
        let data = try Data(contentsOf: URL(fileURLWithPath: file))
        let blocks = (record.size + UInt64(record.blockSize) - 1) / UInt64(record.blockSize)
        let words = Int((blocks + 63) / 64)
        guard data.count == words * 16, Self.digest(data) == record.digest else { return nil }
        let all = data.withUnsafeBytes { bytes in
            (0..<2 * words).map { UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self)) }
        }
        return Bits(current: Array(all[..<words]), shown: Array(all[words...]))
    }

    private static func digest(_ data: Data) -> String {
        DiskRoot(data.withUnsafeBytes { BlockHasher().digest($0) }).description
    }
}
