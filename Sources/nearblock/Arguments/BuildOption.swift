import ArgumentParser
import Configuration
import Foundation
import Index

/// Options that limit the load of reading images.
struct BuildOption: ParsableArguments {
    enum Priority: String, ExpressibleByArgument, CaseIterable {
        case low, normal
    }

    @Option(
        help: ArgumentHelp("Read at most this many bits a second, as in 800M (default: no limit).", valueName: "rate"),
        transform: BitRate.init)
    var rate: BitRate?
    @Option(
        help: ArgumentHelp(
            "Priority for processor and disk: low or normal (default: low).", valueName: "priority"))
    var priority = Priority.low

    var options: BuildOptions {
        BuildOptions(
            threads: ProcessInfo.processInfo.activeProcessorCount,
            bytesPerSecond: rate.map { Double($0.bitsPerSecond) / 8 })
    }

    /// Applies the priority. Call before reading.
    func begin() {
        if priority == .low { LowPriority.enter() }
    }
}
