/// Reason why the free blocks of a file system can't be told.
enum FreeSpaceError: Error, Equatable {
    /// The bytes can't be read.
    case unreadable
    /// The bytes contradict each other.
    case malformed
    /// A library refuses it, with its number for that.
    case refused(Int)
    /// The program can't be confined, or can't write to the node.
    case system(CInt)
    /// The file system was not unmounted, or has work to do when it is mounted next.
    case notClean
    /// A guest has gone to sleep on the disk, and will take up its work where it was.
    case asleep
    /// The file system has parts that are not known here.
    case unsupported
}
