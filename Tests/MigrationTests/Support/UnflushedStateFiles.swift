import Foundation

@testable import Migration

/// The kernel's file operations without flushes, which take most of the time and change nothing that a test sees.
struct UnflushedStateFiles: StateFiles {
    private let system = SystemStateFiles()

    func create(_ path: String) throws -> CInt { try system.create(path) }
    func write(_ data: Data, to descriptor: CInt, _ path: String) throws {
        try system.write(data, to: descriptor, path)
    }
    func flush(_ descriptor: CInt, _ path: String) throws {}
    func close(_ descriptor: CInt) { system.close(descriptor) }
    func rename(_ old: String, to new: String) throws { try system.rename(old, to: new) }
    func unlink(_ path: String) throws { try system.unlink(path) }
    func flush(directory: String) throws {}
    func exists(_ path: String) throws -> Bool { try system.exists(path) }
    func read(_ path: String) throws -> Data? { try system.read(path) }
    func names(in directory: String) throws -> [String] { try system.names(in: directory) }
}
