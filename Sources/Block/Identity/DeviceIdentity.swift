/// Tells one block device from every other, whatever number and name the kernel gives it at the next start.
///
/// A device may be known by several facts, and a kernel of another release may tell more or fewer of them. So two
/// identities are compared by the strongest fact that both have.
public struct DeviceIdentity: Codable, Hashable, Sendable {
    /// Facts by which a device is known, the strongest first.
    public enum Kind: String, Codable, CaseIterable, Sendable {
        /// The name that the configuration gives the device.
        case named = "name"
        /// The device mapper's UUID, which for LVM is made of the volume group's and the volume's.
        case deviceMapper = "dm-uuid"
        /// An MD array's UUID.
        case array = "md-uuid"
        /// The world-wide name of a SCSI or NVMe disk.
        case worldWideName = "wwid"
        /// A disk's serial number.
        case serial
        /// The partition's UUID.
        case partitionUUID = "partition-uuid"
        /// The partition's first sector, and what its disk is known by.
        case partition
        /// Offset and limit of a loop device; its backing file is `ImageIdentity.file`.
        case loop

        /// Whether two devices of another size may still be one that has been resized. A serial number is not always
        /// unique, and an operator may give a name twice.
        var outlivesResize: Bool {
            switch self {
            case .named, .serial: false
            default: true
            }
        }
    }

    /// The known facts, by the `rawValue` of their kind.
    public private(set) var facts: [String: String]

    /// A device of which these facts are known.
    public init(_ facts: [Kind: String] = [:]) {
        self.facts = Dictionary(uniqueKeysWithValues: facts.map { ($0.rawValue, $1) })
    }

    /// One fact; nil where it is not known.
    public subscript(kind: Kind) -> String? {
        get { facts[kind.rawValue] }
        set { facts[kind.rawValue] = newValue }
    }

    /// Whether nothing tells this device from another.
    public var isEmpty: Bool { facts.isEmpty }

    /// The strongest fact, as one string; nil where there is none.
    public var strongest: String? {
        Kind.allCases.lazy.compactMap { kind in self[kind].map { "\(kind.rawValue) \($0)" } }.first
    }

    /// The strongest kind of fact that both have; nil where they have none in common.
    func strongestCommon(with other: DeviceIdentity) -> Kind? {
        Kind.allCases.first { self[$0] != nil && other[$0] != nil }
    }
}
