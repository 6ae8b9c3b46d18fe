/// A disk image format other than raw, recognized by the first bytes.
public struct ImageFormat: Hashable, Sendable {
    /// The use of the image as a raw one.
    public enum Use: Sendable {
        case served
        case indexed
        case moved
        case arrived
    }

    /// Names of the formats in which a disk can be served and indexed.
    public static let supported = ["qcow2", "vmdk", "vhdx", "vdi"]

    /// Bytes from the start of an image that are enough to recognize a format.
    public static let length = 512

    /// Marks of the formats and their offsets. VHD is `vpc` in QEMU; a fixed VHD is raw except for its end, so it has
    /// no mark.
    private static let marks: [(name: String, offset: Int, bytes: [UInt8])] = [
        ("qcow2", 0, [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 2]), ("qcow2", 0, [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]),
        ("qcow", 0, [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 1]), ("qed", 0, Array("QED\0".utf8)),
        ("vmdk", 0, Array("KDMV".utf8)), ("vmdk", 0, Array("COWD".utf8)),
        ("vmdk", 0, Array("# Disk DescriptorFile".utf8)), ("vdi", 0x40, [0x7f, 0x10, 0xda, 0xbe]),
        ("vhdx", 0, Array("vhdxfile".utf8)), ("vpc", 0, Array("conectix".utf8)),
    ]

    /// The name of the format in QEMU, for `-f`.
    public let name: String

    /// Recognizes a format.
    /// - Parameter start: the first bytes of an image, up to `length` of them.
    /// - Returns: nil if they belong to no known format, as in a raw image.
    public init?(start: [UInt8]) {
        let found = Self.marks.first { mark in
            start.count >= mark.offset + mark.bytes.count && start[mark.offset...].starts(with: mark.bytes)
        }
        guard let found else { return nil }
        name = found.name
    }

    /// A warning of one line for the user, with the command that does it right.
    public func warning(of path: String, _ use: Use) -> String {
        let quoted = Self.quoted(path)
        let socket = "/run/image.sock"
        let convert = "qemu-img convert -f \(name) -O raw \(quoted) \(Self.quoted("\(path).raw"))"
        func through(_ options: String, _ command: String) -> String {
            "qemu-nbd -t \(options)-f \(name) -k \(socket) \(quoted), and nearblock \(command) "
                + "'nbd+unix:///?socket=\(socket)'"
        }
        let option = "--format \(name)"
        let (what, how) =
            switch use {
            case .served where Self.supported.contains(name):
                ("served", "to serve the disk, give \(option), or format = \(name) in its [export] section")
            case .indexed where Self.supported.contains(name):
                ("indexed", "to index the disk: nearblock index add --index DIR \(option) \(quoted)")
            case .moved where Self.supported.contains(name):
                ("moved", "to move the disk, serve it with \(option)")
            case .served: ("served", "to serve the disk, run \(through("", "serve"))")
            case .indexed: ("indexed", "to index the disk, run \(through("-r ", "index add --index DIR"))")
            case .moved: ("moved", "to move the disk, first \(convert)")
            case .arrived: ("served", "to serve the disk, run \(through("", "serve")), or first \(convert)")
            }
        return "\(path) is a \(name) image: the bytes of the file are \(what), and not the disk in it; \(how)"
    }

    /// Quotes a path for a shell.
    private static func quoted(_ path: String) -> String {
        let plain = path.utf8.allSatisfy { byte in
            let character = Character(UnicodeScalar(byte))
            return character.isASCII && (character.isLetter || character.isNumber || "/._-+:".contains(character))
        }
        return plain
            ? path
            : "'" + path.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
    }
}

extension RawImage {
    /// The format that the first bytes show; nil for a raw image, and if they can't be read.
    public func format() -> ImageFormat? {
        var start = [UInt8](repeating: 0, count: Int(min(size, UInt64(ImageFormat.length))))
        guard (try? start.withUnsafeMutableBytes({ try read(into: $0, at: 0) })) != nil else { return nil }
        return ImageFormat(start: start)
    }
}
