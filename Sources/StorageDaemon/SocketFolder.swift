import Block
import Foundation
import Glibc

/// A folder for one socket, which only this user can enter.
struct SocketFolder: Sendable {
    /// How the names of such folders begin.
    static let prefix = "storage-"
    /// Bytes of the longest path of a socket: unix(7), without the final zero.
    private static let longestPath = 107

    private let path: String

    /// Makes a folder in `directory`, or in the one for temporary files if the socket's path would be too long there.
    /// - Throws: `FileError`.
    init(in directory: String) throws {
        let full = directory.hasPrefix("/") ? directory : "\(FileManager.default.currentDirectoryPath)/\(directory)"
        let template = "\(full)/\(Self.prefix)XXXXXX"
        let isShort = "\(template)/socket".utf8.count <= Self.longestPath
        let chosen = isShort ? template : "\(NSTemporaryDirectory())nearblock-\(Self.prefix)XXXXXX"
        var bytes = Array(chosen.utf8CString)
        guard mkdtemp(&bytes) != nil else { throw FileError("make a folder for a socket", chosen) }
        path = String(decoding: bytes.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The path of the socket, which does not exist yet.
    var socket: String { "\(path)/socket" }

    /// The path at which one run of a daemon listens until it may be used; then the socket is renamed. No other run has it.
    func opened(_ run: UInt64) -> String { "\(path)/o\(run)" }

    /// Removes the folder with its sockets.
    func remove() { Self.remove(path) }

    private static func remove(_ path: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    /// Removes what processes that were killed have left in a directory. No other process may use it.
    static func removeLeftovers(in directory: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] where name.hasPrefix(prefix)
        {
            remove("\(directory)/\(name)")
        }
    }
}
