import Block
import Glibc

/// Names of neighbours in the index: an image's absolute path without symbolic links, or an NBD URI.
enum ImageName {
    /// Returns the name of an image that exists.
    /// - Throws: `FileError` if the path does not exist, `IndexError.name` if the name is too long or not UTF-8.
    static func existing(_ image: String) throws -> String {
        if NBDClientImage.isURI(image) {
            guard fits(image) else { throw IndexError.name(image) }
            return image
        }
        guard let resolved = realpath(image, nil) else { throw FileError("find", image) }
        defer { free(resolved) }
        guard let name = String(validatingCString: resolved), fits(name) else { throw IndexError.name(image) }
        return name
    }

    /// Returns the names that an image may have had when it was indexed; the image may be gone.
    static func possible(_ image: String) -> [String] {
        var names = [image]
        guard !NBDClientImage.isURI(image) else { return names }
        if let name = try? existing(image) { names.append(name) }
        let parts = image.split(separator: "/", omittingEmptySubsequences: true)
        let parent = (image.hasPrefix("/") ? "/" : "./") + parts.dropLast().joined(separator: "/")
        if let last = parts.last, let folder = try? existing(parent) {
            names.append(folder == "/" ? "/\(last)" : "\(folder)/\(last)")
        }
        return names
    }

    /// Returns whether a table may hold this name.
    static func isPossible(_ name: String) -> Bool { name.first == "/" || NBDClientImage.isURI(name) }

    private static func fits(_ name: String) -> Bool { (1...TableHeader.maximumName).contains(name.utf8.count) }
}
