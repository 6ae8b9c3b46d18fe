import Block
import MigrationCore

/// The disks that came here and are served, by the numbers under which `ArrivalMachine` knows them.
struct ServedDisks {
    private var disks: [ServedDisk: Disk] = [:]
    private var numbers: [ObjectIdentifier: ServedDisk] = [:]

    subscript(_ number: ServedDisk) -> Disk {
        guard let disk = disks[number] else { preconditionFailure("a disk without a number") }
        return disk
    }

    /// The number of a disk; nil if it did not come here.
    func number(of disk: Disk) -> ServedDisk? { numbers[ObjectIdentifier(disk)] }

    /// The number of a disk, which stays its own when it comes back.
    mutating func add(_ disk: Disk) -> ServedDisk {
        if let known = number(of: disk) { return known }
        let number = ServedDisk(number: UInt64(disks.count))
        disks[number] = disk
        numbers[ObjectIdentifier(disk)] = number
        return number
    }
}
