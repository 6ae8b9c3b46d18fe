import Block
import Glibc

/// What a neighbour is called in the index.
enum ImageName {
    /// The absolute path of an image that exists, without symbolic links.
    static func existing(_ path: String) throws -> String {
        guard let resolved = realpath(path, nil) else { throw FileError("find", path) }
        defer { free(resolved) }
        guard let name = String(validatingCString: resolved), name.utf8.count <= TableHeader.maximumName
        else {
            throw IndexError.name(path)
        }
        return name
    }

    /// What an image that may be gone by now can have been called.
    static func possible(_ path: String) -> [String] {
        var names = [path]
        if let name = try? existing(path) { names.append(name) }
        let parts = path.split(separator: "/", omittingEmptySubsequences: true)
        let parent = (path.hasPrefix("/") ? "/" : "./") + parts.dropLast().joined(separator: "/")
        if let last = parts.last, let folder = try? existing(parent) {
            names.append(folder == "/" ? "/\(last)" : "\(folder)/\(last)")
        }
        return names
    }
}
