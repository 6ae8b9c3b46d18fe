import Foundation

/// A block device of 8 MiB whose store has room for less than 2 MiB: writes reach the page cache and then fail.
package struct FullDevice {
    package static var isPossible: Bool { SmallFileSystem.isPossible && LoopDevice.isPossible }

    private let files: SmallFileSystem
    package let path: String
    private var ballast: String { "\(files.path)/ballast" }

    /// - Parameter folder: the place of its store, which is created.
    package init(on folder: String) async throws {
        let files = try SmallFileSystem(on: folder, size: "2M")
        self.files = files
        path = try await Self.attach(folder, files)
    }

    private static func attach(_ folder: String, _ files: SmallFileSystem) async throws -> String {
        do {
            let store = "\(folder)/store"
            try Data().write(to: URL(fileURLWithPath: store))
            truncate(store, 8 << 20)
            try Data(count: 1 << 20).write(to: URL(fileURLWithPath: "\(folder)/ballast"))
            return try await LoopDevice(file: store, sectorSize: 512).path
        } catch {
            files.unmount()
            throw error
        }
    }

    /// Makes room for another MiB.
    package func makeRoom() { unlink(ballast) }

    package func remove() async throws {
        try await LoopDevice.detach(path)
        files.unmount()
    }
}
