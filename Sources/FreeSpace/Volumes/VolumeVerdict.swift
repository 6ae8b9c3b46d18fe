/// Whether a file system may be trimmed by somebody else than its guest. The numbers cross the helper's pipe.
public enum VolumeVerdict: UInt64, Sendable, CaseIterable {
    /// It was unmounted cleanly, and its map of free blocks fits.
    case clean = 0
    /// No file system of which free blocks can be told.
    case unknown = 1
    /// It was not unmounted cleanly.
    case notClean = 2
    /// A guest sleeps on the disk.
    case asleep = 3
    /// Its bytes contradict each other, or can't be read.
    case damaged = 4
    /// It has parts that are not known here.
    case unsupported = 5
    /// Its bytes belong to another partition or file system, too.
    case overlapping = 6
    /// It looks as if it had been unmounted cleanly, and would look so in use.
    case untold = 7

    /// Whether the free blocks of such a file system are told.
    var tellsFree: Bool { self == .clean || self == .untold }

    /// The reason for the operator, and what to do.
    public var reason: String {
        switch self {
        case .clean: "clean"
        case .unknown: "no file system whose free blocks can be read; a guest that uses it can trim it"
        case .notClean: "it was not unmounted cleanly; start the guest and shut it down, or let it trim"
        case .asleep:
            "its guest is hibernated, or was shut down with fast start-up; start it and shut it down completely"
        case .damaged: "its free blocks can't be told for certain; check the file system in the guest"
        case .unsupported: "it has features that are not known here; let the guest trim it"
        case .overlapping: "its bytes belong to another partition or file system, too; correct the partition table"
        case .untold:
            "it does not show whether it is mounted; shut the guest down completely, then give --guest-is-off"
        }
    }
}
