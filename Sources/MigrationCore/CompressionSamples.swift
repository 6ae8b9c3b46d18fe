import func Glibc.pow

/// What short samples of a segment came to compressed, from which follows what any of its blocks may come to: blocks that a
/// neighbour holds are often unlike those that nobody has.
package struct CompressionSamples: Sendable {
    /// A sample.
    package struct Sample: Sendable {
        /// Those that it is of, in whole or in part.
        package let blocks: [UInt64]
        /// Its size compressed, by its own.
        package let ratio: Double

        package init(blocks: [UInt64], ratio: Double) {
            self.blocks = blocks
            self.ratio = ratio
        }
    }

    /// What can be compressed at all gains more from a long window and the higher levels than a short sample shows. Measured
    /// on a Debian disk.
    private static let gain = 1.5

    /// Ascending; empty where none were taken.
    package var samples: [Sample] = []

    package init(samples: [Sample] = []) {
        self.samples = samples
    }

    /// What the wanted ones may come to compressed, by their size; 1 where nothing is known. Where no sample is of a wanted
    /// block, all samples count alike.
    package func ratio(isWanted: (UInt64) -> Bool) -> Double {
        mean { $0.blocks.count(where: isWanted) } ?? mean { _ in 1 } ?? 1
    }

    private func mean(_ weight: (Sample) -> Int) -> Double? {
        var (sum, weights) = (0.0, 0.0)
        for sample in samples {
            let weight = Double(weight(sample))
            sum += sample.ratio * weight
            weights += weight
        }
        return weights == 0 ? nil : pow(sum / weights, Self.gain)
    }
}
