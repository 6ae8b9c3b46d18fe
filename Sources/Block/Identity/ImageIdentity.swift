import Glibc

/// Tells one image from every other, across restarts, renames, remounts and changed device numbers.
///
/// It does not depend on the image's contents; `ImageStamp` does.
public struct ImageIdentity: Codable, Hashable, Sendable {
    /// The image's file, or the backing file of a loop device; nil for other devices.
    public var file: FileIdentity?
    /// The facts about the device; nil for a file.
    public var device: DeviceIdentity?
    /// The format of the disk in the file or device, as QEMU calls it; nil for raw.
    public var format: String?
    /// Bytes.
    public var size: UInt64

    /// Creates an identity from its parts.
    public init(file: FileIdentity? = nil, device: DeviceIdentity? = nil, size: UInt64) {
        self.file = file
        self.device = device
        self.size = size
    }

    /// Whether both belong to one image. An image that has grown is still the same.
    public func isSame(as other: ImageIdentity) -> Bool { format == other.format && isSameStore(as: other) }

    /// Whether the image can be known again after a restart.
    public var outlivesProcess: Bool { device?[.opening] == nil }

    /// Whether both are the bytes of one file or device, in whatever format.
    private func isSameStore(as other: ImageIdentity) -> Bool {
        switch (device, other.device) {
        case (nil, nil): isSameFile(as: other)
        case (let ours?, let theirs?): isSameDevice(ours, theirs, of: other)
        default: false
        }
    }

    /// Whether both lead to one file in different ways: one through a loop device, or in another format.
    public func sharesFile(with other: ImageIdentity) -> Bool {
        if format != other.format, isSameStore(as: other) { return true }
        guard let file, let theirs = other.file, (device == nil) != (other.device == nil) else { return false }
        return file.isSame(as: theirs)
    }

    /// The strongest facts as one string, as in `description` but complete. Another kernel may make another key of the
    /// same image.
    public var key: String {
        let device = (format.map { "\($0) " } ?? "") + (device?.strongest ?? "")
        guard let file else { return device }
        let system = file.fileSystem.strongest ?? ""
        return "\(device) file \(system) \(file.inode) \(file.birthTime.map(String.init) ?? "")"
    }

    /// The image's identity for messages.
    public var description: String { format.map { "\($0) in \(store)" } ?? store }

    private var store: String {
        if let strongest = device?.strongest, file == nil { return strongest }
        guard let file else { return "nothing" }
        let system = file.fileSystem.strongest ?? "unknown"
        let inner = "inode \(file.inode) of file system \(system)"
        return device?[.loop].map { "loop \($0) over \(inner)" } ?? inner
    }

    private func isSameFile(as other: ImageIdentity) -> Bool {
        guard let file, let theirs = other.file, file.isSame(as: theirs) else { return false }
        // Without a time of creation, only the size can tell a reused inode.
        return file.birthTime != nil || size == other.size
    }

    private func isSameDevice(_ ours: DeviceIdentity, _ theirs: DeviceIdentity, of other: ImageIdentity) -> Bool {
        guard let kind = ours.strongestCommon(with: theirs), ours[kind] == theirs[kind] else { return false }
        // A cloned disk has the same partition UUIDs, but another place.
        if let place = ours[.partition], let other = theirs[.partition], place != other { return false }
        if kind == .loop, file != nil || other.file != nil { return isSameFile(as: other) }
        return kind.outlivesResize || size == other.size
    }
}

extension ImageIdentity {
    /// Reads the identity of an open file or block device.
    /// - Parameters:
    ///   - size: bytes.
    ///   - name: the operator's name for a device that nothing else tells from others; nil if there is none.
    /// - Returns: nil for a device that nothing tells from others.
    /// - Throws: `FileError` if it can't be examined.
    public init?(of descriptor: CInt, path: String, size: UInt64, name: String? = nil) throws {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw FileError("stat", path) }
        guard info.st_mode & S_IFMT == S_IFBLK else {
            self.init(file: FileIdentity(of: descriptor, info), size: size)
            return
        }
        var found = SystemDevices().identify(descriptor, number: UInt64(info.st_rdev))
        if let name { found.device[.named] = name }
        guard !found.device.isEmpty else { return nil }
        self.init(file: found.file, device: found.device, size: size)
    }

    /// Reads the identity of the image at a path.
    /// - Returns: nil for a device that nothing tells from others, and for a path that is neither a file nor a device.
    /// - Throws: `FileError` if it can't be opened.
    public init?(at path: String, name: String? = nil) throws {
        guard let seen = try Self.look(at: path, name: name) else { return nil }
        self = seen.identity
    }

    /// Reads the identity of the image at a path, and its file's number; nil as above.
    /// - Throws: `FileError` if it can't be opened.
    public static func look(at path: String, name: String? = nil) throws -> (
        identity: ImageIdentity, file: FileNumber?
    )? {
        let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open", path) }
        defer { close(descriptor) }
        let end = lseek(descriptor, 0, SEEK_END)
        guard end >= 0 else { return nil }
        return try ImageIdentity(of: descriptor, path: path, size: UInt64(end), name: name).map {
            ($0, FileNumber(of: descriptor))
        }
    }
}
