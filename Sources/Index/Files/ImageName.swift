import Block
import Glibc
import StorageDaemon

/// Names of neighbours in the index: an absolute path without symbolic links, an NBD URI, or an image specification of
/// QEMU. The format and a colon stand before the path of an image that is not raw.
enum ImageName {
    /// Returns the name of an image that exists.
    /// - Throws: `FileError` if the path does not exist, `IndexError.name` if the name is too long or not UTF-8.
    static func existing(_ image: String) throws -> String {
        if isElsewhere(image) {
            guard fits(image) else { throw IndexError.name(image) }
            return image
        }
        if let (format, path) = formatted(image) {
            let name = "\(format):\(try existing(path))"
            guard fits(name) else { throw IndexError.name(image) }
            return name
        }
        guard let resolved = realpath(image, nil) else { throw FileError("find", image) }
        defer { free(resolved) }
        guard let name = String(validatingCString: resolved), fits(name) else { throw IndexError.name(image) }
        return name
    }

    /// Returns the names that an image may have had when it was indexed; the image may be gone.
    static func possible(_ image: String) -> [String] {
        var names = [image]
        guard !isElsewhere(image) else { return names }
        if let (format, path) = formatted(image) { return names + possible(path).map { "\(format):\($0)" } }
        if let name = try? existing(image) { names.append(name) }
        let parts = image.split(separator: "/", omittingEmptySubsequences: true)
        let parent = (image.hasPrefix("/") ? "/" : "./") + parts.dropLast().joined(separator: "/")
        if let last = parts.last, let folder = try? existing(parent) {
            names.append(folder == "/" ? "/\(last)" : "\(folder)/\(last)")
        }
        return names
    }

    /// Returns whether a table may hold this name.
    static func isPossible(_ name: String) -> Bool {
        name.first == "/" || isElsewhere(name) || formatted(name)?.path.first == "/"
    }

    /// Splits a name that begins with a format; nil for others. A raw file of such a name can be given as `./NAME`.
    static func formatted(_ name: String) -> (format: String, path: String)? {
        guard let colon = name.firstIndex(of: ":") else { return nil }
        let format = String(name[..<colon])
        guard ImageSpecification.formats.contains(format) else { return nil }
        return (format, String(name[name.index(after: colon)...]))
    }

    /// Whether a name leads to no file of this host, as far as it says.
    private static func isElsewhere(_ name: String) -> Bool {
        NBDClientImage.isURI(name) || ImageSpecification.isNeeded(for: name, format: nil)
    }

    private static func fits(_ name: String) -> Bool { (1...TableHeader.maximumName).contains(name.utf8.count) }
}
