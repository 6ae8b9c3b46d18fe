import Block
import BlockModel
import Foundation

/// Contents of `index.json`, which marks a directory as an index: the settings that all its tables share.
struct IndexSettings: Codable, Equatable {
    static let currentVersion = 1
    private static let maximumBytes: UInt64 = 4096

    var version = currentVersion
    var blockSize: Int

    /// Reads the settings; nil if the directory holds no index.
    /// - Throws: `IndexError` if the file is damaged or too new, `FileError` if it can't be read.
    static func read(from directory: IndexDirectory) throws -> IndexSettings? {
        let path = directory.path(of: IndexFileName.settings)
        guard let bytes = try contents(path) else { return nil }
        return try decode(bytes, path, directory)
    }

    private static func contents(_ path: String) throws -> [UInt8]? {
        do throws(TableFault) {
            let file = try IndexFile(path: path)
            var bytes = [UInt8](repeating: 0, count: Int(min(file.size, maximumBytes)))
            guard bytes.withUnsafeMutableBytes({ file.read(into: $0, at: 0) }) else { throw .unreadable(EIO) }
            return bytes
        } catch {
            switch error {
            case .gone: return nil
            case .unreadable(let code): throw FileError("read", path, code: code)
            default: throw IndexError.damagedSettings(file: path)
            }
        }
    }

    private static func decode(_ bytes: [UInt8], _ path: String, _ directory: IndexDirectory) throws
        -> IndexSettings
    {
        guard let settings = try? JSONDecoder().decode(IndexSettings.self, from: Data(bytes)) else {
            throw IndexError.damagedSettings(file: path)
        }
        guard settings.version == currentVersion else {
            throw IndexError.laterVersion(directory: directory.path, version: settings.version)
        }
        guard BlockGeometry.isValid(blockSize: settings.blockSize) else { throw IndexError.damagedSettings(file: path) }
        return settings
    }

    /// Writes these settings unless the directory has some already; another process may have been faster.
    func establish(in directory: IndexDirectory) throws {
        let json = try JSONEncoder().encode(self)
        try directory.replace(IndexFileName.settings, keepExisting: true) { file in
            try json.withUnsafeBytes { try file.write($0, at: 0) }
        }
    }
}
