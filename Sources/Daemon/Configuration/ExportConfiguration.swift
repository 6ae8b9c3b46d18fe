/// A disk to serve.
public struct ExportConfiguration: Equatable, Sendable {
    /// What holds its bytes: the path of a raw image or block device, or an NBD URI.
    public var backing: String
    /// The name that clients ask for.
    public var name: String
    /// Writes are refused.
    public var isReadOnly: Bool
    /// For people; empty where there is nothing to say.
    public var text: String
    /// The host's page cache is passed by.
    public var isDirect: Bool
    /// The empty name stands for this export.
    public var isDefault: Bool
    /// Whether clients should spare the disk seeks; nil leaves it to what the system knows of the disk.
    public var isRotational: Bool?
    /// Every write is durable before it is acknowledged, whether the client asks for that or not.
    public var isSynchronous: Bool
    /// The node starts even where this disk can't be opened, and serves the others.
    public var mayBeMissing: Bool
    /// The name under which clients see what was written between checkpoints; nil where that is not noted.
    public var dirtyBitmap: String?
    /// Bytes of the image that clients get; nil for all. A file that is empty or missing is made that long.
    public var size: UInt64?
    /// Connections that clients may have to it at once; nil for as many as the node takes.
    public var maximumConnections: Int?
    /// Only clients that encrypt see the disk, and may have it.
    public var requiresTLS = false

    /// What the operator calls a device that nothing else tells from others; nil for nothing.
    public var identity: String?

    /// Describes a disk.
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

    /// Bytes of a string that clients can be told (NBD protocol, "String values").
    private static let longestString = 4096

    /// What is wrong with the strings that clients are told; nil where nothing is.
    var stringProblem: String? {
        for (what, string) in [("name", name), ("description", text)] where string.utf8.count > Self.longestString {
            return "an export's \(what) has \(string.utf8.count) bytes, of which clients take \(Self.longestString): "
                + "shorten \(string.prefix(40))…"
        }
        return nil
    }

    /// What is wrong with the name of a dirty bitmap; nil where nothing is.
    public static func problem(withBitmap name: String) -> String? { ChangeBitmap.problem(with: name) }

    /// What is wrong with a name for a device; nil where nothing is.
    public static func problem(withIdentity name: String) -> String? {
        (1...255).contains(name.utf8.count) && name.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f }
            ? nil : "an identity is a name of 1 to 255 bytes without control characters"
    }

    /// Whether another configuration can be served by the same open backing.
    func sharesBacking(with other: ExportConfiguration) -> Bool {
        backing == other.backing && isDirect == other.isDirect && isReadOnly == other.isReadOnly
            && identity == other.identity && size == other.size
    }
}
