import Foundation

/// A Unix socket in a directory of its own, which nobody else may look into.
struct PrivateSocket {
    private let directory: String

    /// Makes the directory.
    /// - Throws: `CommandFailure`.
    init() throws {
        var template = Array(
            (NSTemporaryDirectory() as NSString).appendingPathComponent("nearblock-XXXXXX").utf8CString)
        guard let made = mkdtemp(&template) else {
            throw CommandFailure(reason: "cannot make a temporary directory: \(String(cString: strerror(errno)))")
        }
        directory = String(cString: made)
    }

    var path: String { "\(directory)/socket" }

    /// Removes the directory; the socket has gone by then.
    func remove() {
        try? FileManager.default.removeItem(atPath: directory)
    }
}
