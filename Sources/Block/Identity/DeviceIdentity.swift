/// Tells one block device from every other, whatever number and name the kernel gives it at the next boot.
///
/// A device may be known by several facts, and another kernel release may tell more or fewer of them. Two identities
/// are therefore compared by the strongest fact that both have.
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
        /// One opening of another server's disk that the operator has not named. No later opening has the same.
        case opening

        /// Whether a device of another size may be the same one after a resize. A serial number is not always unique,
        /// and an operator may give a name twice.
        var outlivesResize: Bool {
            switch self {
            case .named, .serial: false
            default: true
            }
        }
    }

    /// The known facts; the keys are raw values of `Kind`.
    public private(set) var facts: [String: String]

    /// Creates an identity from known facts.
    public init(_ facts: [Kind: String] = [:]) {
        self.facts = Dictionary(uniqueKeysWithValues: facts.map { ($0.rawValue, $1) })
    }

    /// One fact; nil if it is unknown.
    public subscript(kind: Kind) -> String? {
        get { facts[kind.rawValue] }
        set { facts[kind.rawValue] = newValue }
    }

    /// Whether no fact is known, so that nothing tells this device from others.
    public var isEmpty: Bool { facts.isEmpty }

    /// The strongest fact with its kind, as one string; nil if none is known.
    public var strongest: String? {
        Kind.allCases.lazy.compactMap { kind in self[kind].map { "\(kind.rawValue) \($0)" } }.first
    }

    /// The strongest kind of fact that both have; nil if they have none in common.
    func strongestCommon(with other: DeviceIdentity) -> Kind? {
        Kind.allCases.first { self[$0] != nil && other[$0] != nil }
    }
}
