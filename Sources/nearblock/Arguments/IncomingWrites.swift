import ArgumentParser

/// Handling of writes to a disk before its switchover.
enum IncomingWrites: String, ExpressibleByArgument, CaseIterable {
    case wait
    case refuse
}
