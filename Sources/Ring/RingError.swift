import Glibc

/// The kernel refused to set up a ring.
public struct RingError: Error, CustomStringConvertible {
    let code: CInt

    /// One line for the user.
    public var description: String {
        "cannot set up io_uring: \(String(cString: strerror(code))); "
            + "Linux 6.1 or newer is needed, with the sysctl kernel.io_uring_disabled at 0 and enough locked memory"
    }
}
