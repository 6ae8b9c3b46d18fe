import Block
import Foundation
import Glibc

/// The paths of the files of disks that arrive.
///
/// A disk becomes `EXPORT.raw`, and an export `x.raw` becomes `x.raw` too. Disks of earlier releases, which made `x.raw.raw`
/// of it and have a record that says so, stay where they are.
struct ImageLayout: Sendable {
    private static let ending = ".raw"

    private let images: String
    /// Exports whose files have the ending twice.
    private let doubled: Set<String>

    /// - Parameters:
    ///   - images: the directory, as a real path.
    ///   - prefixes: of the names of records in `state`.
    /// - Throws: if a record can't be read.
    init(images: String, state: StateDirectory, prefixes: [String]) throws {
        self.images = images
        var doubled: Set<String> = []
        for prefix in prefixes {
            for (name, record) in try state.readAll(IncomingRecord.self, prefix: "\(prefix)-")
            where record.export.hasSuffix(Self.ending) {
                let file = "\(record.export)\(Self.ending)"
                // The directory may have been renamed since.
                let stood = record.image?.path.map { ($0 as NSString).lastPathComponent }
                if name == StateDirectory.key(prefix, path: "\(images)/\(file)") || stood == file {
                    doubled.insert(record.export)
                }
            }
        }
        self.doubled = doubled
    }

    func path(of export: String) -> String { base(of: export) }
    func partialPath(of export: String) -> String { base(of: export) + Self.partialSuffix }
    func manifestPath(of export: String) -> String { base(of: export) + Self.manifestSuffix }
    /// Without the endings of the map's two files.
    func mapPath(of export: String) -> String { base(of: export) + Self.mapSuffix }

    /// The name of the record of a disk.
    func recordName(_ export: String, _ prefix: String) -> String {
        StateDirectory.key(prefix, path: path(of: export))
    }

    /// Another export whose files would be the same ones; nil if there is none.
    func rival(of export: String, among exports: some Sequence<String>) -> String? {
        exports.first { $0 != export && path(of: $0) == path(of: export) }
    }

    /// Deletes the arrival files of disks without a record or an image.
    /// - Parameter exports: the disks with a record.
    func removeLeftovers(except exports: some Sequence<String>) {
        let known = Set(exports.map(path))
        for file in (try? FileManager.default.contentsOfDirectory(atPath: images)) ?? [] {
            for suffix in [Self.manifestSuffix, "\(Self.mapSuffix).map", "\(Self.mapSuffix).live"]
            where file.hasSuffix(Self.ending + suffix) {
                let path = "\(images)/\(file.dropLast(suffix.count))"
                // A disk with an image may have its record in another state directory.
                let hasImage = access(path, F_OK) == 0 || access(path + Self.partialSuffix, F_OK) == 0
                if !known.contains(path) && !hasImage { unlink("\(images)/\(file)") }
            }
        }
    }

    /// The partial images of disks without a record.
    /// - Parameter exports: the disks that are known.
    func leftovers(except exports: some Sequence<String>) -> [ImageLeftover] {
        let known = Set(exports.map(partialPath))
        let files = (try? FileManager.default.contentsOfDirectory(atPath: images)) ?? []
        return files.sorted().compactMap { file in
            let path = "\(images)/\(file)"
            guard file.hasSuffix(Self.ending + Self.partialSuffix), !known.contains(path) else { return nil }
            var info = stat()
            guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return nil }
            return ImageLeftover(
                export: String(file.dropLast(Self.partialSuffix.count + Self.ending.count)), file: path,
                allocated: UInt64(max(0, info.st_blocks)) * 512)
        }
    }

    private static let partialSuffix = ".incoming"
    private static let manifestSuffix = ".arriving.manifest"
    private static let mapSuffix = ".arriving"

    private func base(of export: String) -> String {
        let hasEnding = export.hasSuffix(Self.ending) && !doubled.contains(export)
        return hasEnding ? "\(images)/\(export)" : "\(images)/\(export)\(Self.ending)"
    }
}
