import Block
import Foundation

/// Copies the tables of this host's index to its folder of the store.
struct TablePublisher: Sendable {
    private static let suffix = ".table"
    private static let temporarySuffix = ".tmp"
    /// Hexadecimal digits with which the name of each table begins.
    private static let digits = 32
    /// Bytes of a table's head, which has the table's random generation.
    private static let head = 256

    /// Path of the index.
    let index: String
    /// Path of the host's folder in the store.
    let folder: String

    /// Makes the folder hold the tables of the index as they are now. Blocks for as long as the copies take.
    /// - Returns: The number of tables that were copied or deleted.
    /// - Throws: `FileError`, and `CancellationError` once `isWanted` returns false; what was copied before stays.
    func publish(_ isWanted: () -> Bool) throws -> Int {
        let here = try Self.files(in: index).filter { $0.hasSuffix(Self.suffix) }
        let there = try Self.files(in: folder)
        var changes = 0
        for name in here where !isSame(name) {
            do { try SparseCopy.replace("\(folder)/\(name)", with: "\(index)/\(name)", isWanted) } catch let error
                as FileError
            {
                // The image was removed from the index meanwhile.
                if error.code == ENOENT, error.path == "\(index)/\(name)" { continue }
                throw error
            }
            changes += 1
        }
        for name in there where isLeftover(name, here) {
            unlink("\(folder)/\(name)")
            if name.hasSuffix(Self.suffix) { changes += 1 }
        }
        return changes
    }

    /// Whether a file of the folder is a table that the index no longer has, or of a copy that was killed.
    private func isLeftover(_ name: String, _ here: [String]) -> Bool {
        guard name.prefix(while: \.isHexDigit).count == Self.digits else { return false }
        return name.hasSuffix(Self.suffix) ? !here.contains(name) : name.hasSuffix(Self.temporarySuffix)
    }

    private func isSame(_ name: String) -> Bool {
        guard let ours = Self.head(of: "\(index)/\(name)") else { return false }
        return ours == Self.head(of: "\(folder)/\(name)")
    }

    /// The bytes of a table that change with its contents, and its size.
    private static func head(of path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var info = stat()
        var bytes = [UInt8](repeating: 0, count: head)
        guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG,
            pread(descriptor, &bytes, head, 0) == head
        else { return nil }
        return bytes + withUnsafeBytes(of: info.st_size) { Array($0) }
    }

    private static func files(in folder: String) throws -> [String] {
        do { return try FileManager.default.contentsOfDirectory(atPath: folder) } catch {
            throw FileError("list", folder, code: ENOENT)
        }
    }
}
