import func Glibc.pow

/// Compressed sizes of short samples of a segment, from which the compressed size of any of its blocks is estimated.
/// Blocks that a neighbour holds are often unlike those that nobody has.
package struct CompressionSamples: Sendable {
    /// A sample.
    package struct Sample: Sendable {
        /// The blocks that it was taken from, in whole or in part.
        package let blocks: [UInt64]
        /// Compressed size by original size.
        package let ratio: Double

        package init(blocks: [UInt64], ratio: Double) {
            self.blocks = blocks
            self.ratio = ratio
        }
    }

    /// Compressible data gains more from a long window and the higher levels than a short sample shows. Measured on a
    /// Debian disk.
    private static let gain = 1.5

    /// Ascending; empty where none were taken.
    package var samples: [Sample] = []

    package init(samples: [Sample] = []) {
        self.samples = samples
    }

    /// The expected compressed size of the wanted blocks, as a part of their size; 1 if nothing is known. If no sample
    /// is of a wanted block, all samples count alike.
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
