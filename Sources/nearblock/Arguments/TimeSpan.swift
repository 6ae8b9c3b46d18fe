import ArgumentParser

/// A duration: `200ms` or `2s`.
struct TimeSpan: ExpressibleByArgument {
    let seconds: Double

    init(seconds: Double) {
        self.seconds = seconds
    }

    init?(argument: String) {
        let isMilliseconds = argument.hasSuffix("ms")
        guard argument.hasSuffix("s"), let value = Double(argument.dropLast(isMilliseconds ? 2 : 1)),
            value >= 0,
            value.isFinite
        else { return nil }
        seconds = isMilliseconds ? value / 1000 : value
    }

    var defaultValueDescription: String { "\(Int(seconds * 1000))ms" }
}
