import Block

/// The parts that answer clients of a disk before its switchover.
struct EarlyExport: Sendable {
    let device: IncomingDevice
    let reads: EarlyReads
    let channels: PostCopyChannels
    let disk: Disk
    let onChange: ChangeSignal
}
