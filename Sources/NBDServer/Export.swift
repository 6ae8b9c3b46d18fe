import Block
import NBD

/// A named disk that clients may open.
public final class Export: Sendable {
    /// What clients are told.
    public let description: ExportDescription
    /// Where their requests go.
    public let disk: Disk

    /// An export of `disk` under `name`.
    public init(name: String, disk: Disk, isReadOnly: Bool) {
        description = ExportDescription(name: name, size: disk.size, isReadOnly: isReadOnly)
        self.disk = disk
    }
}
