import StorageDaemon

/// Configuration of one disk to serve.
public struct ExportConfiguration: Equatable, Sendable {
    /// Path of a raw image or block device, or an NBD URI, that holds the disk's bytes.
    public var backing: String
    /// Name of the export for clients; empty is allowed.
    public var name: String
    /// Whether writes are refused.
    public var isReadOnly: Bool
    /// Description that clients see; empty for none.
    public var text: String
    /// Whether reads and writes bypass the host's page cache.
    public var isDirect: Bool
    /// Whether clients that ask for the empty name get this export.
    public var isDefault: Bool
    /// Whether clients should avoid seeks; nil takes what the system reports about the disk.
    public var isRotational: Bool?
    /// Whether every write is durable before it is acknowledged, even if the client does not ask for that.
    public var isSynchronous: Bool
    /// Whether the node starts without this disk if it can't be opened.
    public var mayBeMissing: Bool
    /// Name of the dirty bitmap in which clients see writes between checkpoints; nil for no bitmap.
    public var dirtyBitmap: String?
    /// Bytes of the image that are exported; nil for all. An empty or missing file is created with this size.
    public var size: UInt64?
    /// Connections to this export at once, at most; nil for the node's limit.
    public var maximumConnections: Int?
    /// Whether only clients with TLS may see and use the export.
    public var requiresTLS = false

    /// Format of the disk in the image: one of `formats`. Nil is raw, with a warning if the image looks like another one.
    public var format: String?

    /// Name given by the operator for a device that has no identity of its own; nil for none.
    public var identity: String?

    /// Creates a configuration; nothing is checked yet.
    public init(
        backing: String, name: String, isReadOnly: Bool, text: String = "", isDirect: Bool = false,
        isDefault: Bool = false, isRotational: Bool? = nil, isSynchronous: Bool = false, mayBeMissing: Bool = false,
        dirtyBitmap: String? = nil, identity: String? = nil
    ) {
        self.backing = backing
        self.name = name
        self.isReadOnly = isReadOnly
        self.text = text
        self.isDirect = isDirect
        self.isDefault = isDefault
        self.isRotational = isRotational
        self.isSynchronous = isSynchronous
        self.mayBeMissing = mayBeMissing
        self.dirtyBitmap = dirtyBitmap
        self.identity = identity
    }

    /// Bytes of a string in the NBD protocol, at most ("String values").
    private static let longestString = 4096

    /// Message about a name or description that is too long for clients; nil if both fit.
    var stringProblem: String? {
        for (what, string) in [("name", name), ("description", text)] where string.utf8.count > Self.longestString {
            return "an export's \(what) has \(string.utf8.count) bytes, but clients accept at most "
                + "\(Self.longestString): shorten \(string.prefix(40))…"
        }
        return nil
    }

    /// Returns a message if a name for a dirty bitmap is not allowed; nil if it is.
    public static func problem(withBitmap name: String) -> String? { ChangeBitmap.problem(with: name) }

    /// Returns a message if a device's given identity is not allowed; nil if it is.
    public static func problem(withIdentity name: String) -> String? {
        (1...255).contains(name.utf8.count) && name.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f }
            ? nil : "an identity is a name of 1 to 255 bytes without control characters"
    }

    /// Formats that an image may have.
    public static let formats = ["raw", "auto"] + ImageSpecification.formats

    /// Returns a message if a format is not known; nil if it is.
    public static func problem(withFormat name: String) -> String? {
        formats.contains(name) ? nil : "'\(name)' is no format; there are \(formats.joined(separator: ", "))"
    }

    /// Returns whether the same open backing can serve another configuration.
    func sharesBacking(with other: ExportConfiguration) -> Bool {
        backing == other.backing && isDirect == other.isDirect && isReadOnly == other.isReadOnly
            && identity == other.identity && size == other.size && format == other.format
    }
}
