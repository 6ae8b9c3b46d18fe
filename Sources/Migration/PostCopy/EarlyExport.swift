import Block

/// What answers clients of a disk before it is handed over.
struct EarlyExport: Sendable {
    let device: IncomingDevice
    let reads: EarlyReads
    let lanes: Lanes
    let disk: Disk
    let onChange: ChangeSignal
}
