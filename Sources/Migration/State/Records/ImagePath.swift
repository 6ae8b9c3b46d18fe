import Block
import Foundation

/// Paths of images, as records compare them.
enum ImagePath {
    /// An absolute path without `.`, `..` and double slashes. Links stay: for `/dev/vg/disk` they lead to a number that is
    /// another volume's after the next start. URIs stay as they are.
    static func absolute(_ path: String) -> String {
        guard !NBDClientImage.isURI(path), !path.hasPrefix("json:"), !path.hasPrefix("rbd:") else { return path }
        let full = path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
        var parts: [Substring] = []
        for part in full.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }
}
