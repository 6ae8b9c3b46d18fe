import Block
import Glibc

/// A place that a command has printed belongs to something else. Releasing it could remove the disk of that.
struct PlaceInUse: Error, CustomStringConvertible {
    /// The refusal, in one line.
    let reason: String

    var description: String { reason }

    /// Whether an error of opening a place says so.
    static func isSaid(by error: any Error) -> Bool { error is ImageInUse || (error as? FileError)?.code == EBUSY }
}
