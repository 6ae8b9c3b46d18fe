import ArgumentParser

/// What becomes of writes to a disk that is still to be handed over.
enum IncomingWrites: String, ExpressibleByArgument, CaseIterable {
    case wait
    case refuse
}
