import ArgumentParser
import Configuration
import Foundation
import Index

/// How much of the machine the reading of images may take.
struct BuildOption: ParsableArguments {
    enum Priority: String, ExpressibleByArgument, CaseIterable {
        case low, normal
    }

    @Option(
        help: ArgumentHelp("Read at most that many bits a second: 800M (default: no limit).", valueName: "rate"),
        transform: BitRate.init)
    var rate: BitRate?
    @Option(
        help: ArgumentHelp(
            "Whether everything else on the machine goes first: low or normal (default: low).", valueName: "priority"))
    var priority = Priority.low

    var options: BuildOptions {
        BuildOptions(
            threads: ProcessInfo.processInfo.activeProcessorCount,
            bytesPerSecond: rate.map { Double($0.bitsPerSecond) / 8 })
    }

    /// Call before anything is read.
    func begin() {
        if priority == .low { LowPriority.enter() }
    }
}
