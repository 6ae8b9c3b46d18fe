import CGLib
import Daemon
import Foundation

/// The section of a configuration file that serves an image.
public struct ExportSection {
    private let name: String
    private let export: String
    /// Lines of the section.
    public let text: String

    /// Describes an export.
    /// - Parameter image: Path of the image.
    /// - Throws: `ConfigurationError` if no section can have that name.
    public init(export: String, image: String, isReadOnly: Bool) throws {
        self.export = export
        name = "export \(export)"
        // GLib takes a name with these for the end of the section's header.
        let isPlain = export.unicodeScalars.allSatisfy {
            $0.value >= 0x20 && $0.value != 0x7f && $0 != "[" && $0 != "]"
        }
        guard isPlain else {
            throw ConfigurationError(
                image, "a configuration file can't name the export '\(export)': it has brackets or control characters")
        }
        let file: OpaquePointer = g_key_file_new()
        defer { g_key_file_unref(file) }
        g_key_file_set_string(file, name, "image", image)
        if isReadOnly { g_key_file_set_boolean(file, name, "read-only", 1) }
        guard let data = g_key_file_to_data(file, nil, nil) else {
            throw ConfigurationError(image, "the section of the export '\(export)' can't be written")
        }
        defer { g_free(data) }
        text = String(cString: data)
    }

    /// Appends the section to a configuration file, which is replaced as a whole.
    /// - Throws: `ConfigurationError` if the file is invalid, or has such a section or export already; an error if it
    ///   can't be written. The file is then as it was.
    public func append(to path: String) throws {
        var node = NodeConfiguration(state: "", defaultControl: nil)
        try ConfigurationFile.read(path, into: &node)
        guard !node.exports.contains(where: { $0.name == export }) else {
            throw ConfigurationError(path, "[\(name)] is there already")
        }
        let url = URL(fileURLWithPath: path).resolvingSymlinksInPath()
        let attributes = try FileManager.default.attributesOfItem(atPath: url.path)
        var contents = try Data(contentsOf: url)
        if let last = contents.last, last != UInt8(ascii: "\n") { contents.append(UInt8(ascii: "\n")) }
        contents.append(Data("\n\(text)".utf8))
        let temporary = url.deletingLastPathComponent().appendingPathComponent(
            ".\(url.lastPathComponent).\(getpid()).tmp")
        do {
            try contents.write(to: temporary)
            let kept = attributes.filter {
                [.posixPermissions, .ownerAccountID, .groupOwnerAccountID].contains($0.key)
            }
            try FileManager.default.setAttributes(kept, ofItemAtPath: temporary.path)
            let handle = try FileHandle(forUpdating: temporary)
            try handle.synchronize()
            try handle.close()
            guard rename(temporary.path, url.path) == 0 else {
                throw ConfigurationError(path, "cannot be replaced: \(String(cString: strerror(errno)))")
            }
        } catch {
            unlink(temporary.path)
            throw error
        }
    }
}
