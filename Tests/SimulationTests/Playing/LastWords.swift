import Glibc

/// Names the seeds in play when the process ends by a signal or by `exit`; then the signal does what it did before.
///
/// Handlers can hold nothing, so this is the process's own. Everything that they read is made before they are set.
enum LastWords {
    private static let signals = [SIGSEGV, SIGILL, SIGTRAP, SIGFPE, SIGABRT, SIGTERM, SIGINT]
    private static let size = Int(SIGTERM) + 1

    nonisolated(unsafe) private static let lines = UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>.allocate(
        capacity: 1)
    nonisolated(unsafe) private static let earlier = UnsafeMutablePointer<sigaction>.allocate(capacity: size)

    /// Names the seeds of `slots` from now on, and those of no others.
    static func begin(_ slots: SeedSlots) {
        lines.initialize(to: slots.lines)
        _ = areHandlersSet
    }

    private static let areHandlersSet: Bool = {
        earlier.initialize(repeating: sigaction(), count: size)
        atexit { LastWords.write() }
        for number in signals {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { number in
                LastWords.write()
                // Blocked until this returns; then what stood here before is called.
                _ = sigaction(number, LastWords.earlier + Int(number), nil)
                raise(number)
            }
            action.sa_flags = Int32(SA_ONSTACK)
            sigaction(number, &action, earlier + Int(number))
        }
        return true
    }()

    private static func write() {
        guard let lines = lines.pointee else { return }
        var slot = 0
        while slot < SeedSlots.count {
            if let line = SeedSlots.line(slot, of: lines) {
                _ = Glibc.write(STDERR_FILENO, line.baseAddress, line.count)
                _ = Glibc.write(STDERR_FILENO, "\n", 1)
            }
            slot += 1
        }
    }
}
