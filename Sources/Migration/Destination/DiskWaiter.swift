import Block

/// Somebody who waits for a disk to be served here.
struct DiskWaiter {
    let number: UInt64
    /// Called once, with nil where the disk will never be served here, or nobody wants it any more.
    let answer: (Disk?) -> Void
}
