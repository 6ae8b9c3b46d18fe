import Foundation
import NIOConcurrencyHelpers

@testable import Migration

/// File operations before which a test does something.
final class HookedStateFiles: StateFiles {
    private let files = UnflushedStateFiles()
    private let hooks = NIOLockedValueBox<(create: @Sendable (String) -> Void, flush: @Sendable () throws -> Void)>(
        ({ _ in }, {}))

    /// - Parameters:
    ///   - create: called with the path before a file is made.
    ///   - flush: called in the place of a flush of the directory.
    func hook(
        create: @escaping @Sendable (String) -> Void = { _ in }, flush: @escaping @Sendable () throws -> Void = {}
    ) {
        hooks.withLockedValue { $0 = (create, flush) }
    }

    func create(_ path: String) throws -> CInt {
        hooks.withLockedValue { $0 }.create(path)
        return try files.create(path)
    }

    func write(_ data: Data, to descriptor: CInt, _ path: String) throws { try files.write(data, to: descriptor, path) }
    func flush(_ descriptor: CInt, _ path: String) throws {}
    func close(_ descriptor: CInt) { files.close(descriptor) }
    func rename(_ old: String, to new: String) throws { try files.rename(old, to: new) }
    func unlink(_ path: String) throws { try files.unlink(path) }
    func flush(directory: String) throws { try hooks.withLockedValue { $0 }.flush() }
    func exists(_ path: String) throws -> Bool { try files.exists(path) }
    func read(_ path: String) throws -> Data? { try files.read(path) }
    func names(in directory: String) throws -> [String] { try files.names(in: directory) }
}
