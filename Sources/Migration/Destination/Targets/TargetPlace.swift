import Block
import Glibc
import MigrationProtocol

/// The place of a disk, as an operator's command has printed it: a path, an NBD URI or `rbd:POOL/IMAGE`, with or without
/// `format=FORMAT` in front.
struct TargetPlace: Equatable, Sendable {
    /// The most bytes of a printed line.
    static let longestLine = 4096

    /// The line as it was printed.
    let line: String
    /// An absolute path, an NBD URI, or a Ceph image.
    let location: String
    /// The format of an image at a path or in Ceph; nil for raw.
    let format: String?

    /// Takes a command's whole output apart.
    /// - Throws: `MigrationError.refused` unless it is one line with a place that this node can use.
    init(output: [UInt8]) throws {
        guard let text = String(validating: output, as: UTF8.self) else { throw Self.unusable("no text") }
        try self.init(line: text.hasSuffix("\n") ? String(text.dropLast()) : text)
    }

    /// - Throws: `MigrationError.refused`.
    init(line: String) throws {
        guard !line.isEmpty else { throw Self.unusable("nothing") }
        guard !line.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            throw Self.unusable("more than one line, or control characters")
        }
        var place = line[...]
        var format: String?
        if let (name, value, rest) = Self.attribute(of: place) {
            guard name == "format", value == "raw" || ImageFormat.supported.contains(String(value)) else {
                throw Self.unusable("\(PlainLine.of("\(name)=\(value)")), which this release does not know")
            }
            format = value == "raw" ? nil : String(value)
            place = rest
        }
        guard place.hasPrefix("/") || place.hasPrefix("rbd:") || NBDClientImage.isURI(String(place)) else {
            throw Self.unusable("\(PlainLine.of(place)), which is not an absolute path")
        }
        self.line = line
        self.format = format
        location = String(place)
    }

    /// A word `NAME=VALUE` at the front; nil if there is none.
    private static func attribute(of text: Substring) -> (name: Substring, value: Substring, rest: Substring)? {
        guard !text.hasPrefix("/"), let space = text.firstIndex(of: " ") else { return nil }
        let word = text[..<space]
        guard let sign = word.firstIndex(of: "=") else { return nil }
        return (word[..<sign], word[word.index(after: sign)...], text[text.index(after: space)...])
    }

    private static func unusable(_ what: String) -> MigrationError {
        .refused(
            "the command that prepares the place of a disk there has printed \(what); it must print one line, the "
                + "absolute path of a file or block device, or an NBD URI")
    }

    /// Whether it is a raw file or block device.
    var isPlain: Bool { location.hasPrefix("/") && format == nil }

    /// Whether something stands at the place. Of another server it is not known: the command may have to start it again.
    var isThere: Bool { location.hasPrefix("/") && access(location, F_OK) == 0 }

    /// Opens a raw file or block device for a disk.
    /// - Parameter size: bytes of the disk; the place may be larger.
    /// - Throws: `PlaceInUse`; `MigrationError.refused` if it is too small, or not a file or block device.
    func open(size: UInt64) throws -> RawImage {
        do {
            try checkIsUnclaimed()
            let isKnown = try { () throws -> Bool in
                let image = try RawImage(path: location, access: .readWrite, size: size)
                return try image.identity() != nil
            }()
            // A device that nothing tells from others is known by the path that its command has printed.
            return try RawImage(path: location, access: .readWrite, givenName: isKnown ? nil : location, size: size)
        } catch let error as MigrationError {
            throw error
        } catch {
            let reason = "the place that was prepared for the disk there can't be used: \(error)"
            throw PlaceInUse.isSaid(by: error) ? PlaceInUse(reason: reason) : MigrationError.refused(reason)
        }
    }

    /// The kernel refuses an exclusive opening of a block device that is mounted, or part of another device. `open(2)`, O_EXCL
    private func checkIsUnclaimed() throws {
        var info = stat()
        guard stat(location, &info) == 0, info.st_mode & S_IFMT == S_IFBLK else { return }
        let descriptor = Glibc.open(location, O_RDWR | O_EXCL | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open", location) }
        close(descriptor)
    }
}
