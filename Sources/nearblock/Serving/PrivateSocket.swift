import Foundation

/// Path for a Unix socket in a temporary directory that only this user can enter.
struct PrivateSocket {
    private let directory: String

    /// Creates the directory.
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

    /// Removes the directory. The socket must be gone.
    func remove() {
        try? FileManager.default.removeItem(atPath: directory)
    }
}
