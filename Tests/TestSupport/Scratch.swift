import Foundation

/// A directory of one test, deleted with this object.
package final class Scratch: Sendable {
    package let path: String

    package init(in parent: String = NSTemporaryDirectory()) {
        var template = Array("\(parent)/nearblock-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { fatalError("cannot make a directory in \(parent)") }
        path = String(cString: made)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    package func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Creates a file with these bytes.
    package func write(_ bytes: [UInt8], to name: String) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
        return file(name)
    }

    /// Creates a file that is one hole.
    package func hole(_ size: Int, _ name: String) throws -> String {
        let path = try write([], to: name)
        guard truncate(path, off_t(size)) == 0 else { throw CocoaError(.fileWriteUnknown) }
        return path
    }

    package func contents(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: file(name))))
    }
}
