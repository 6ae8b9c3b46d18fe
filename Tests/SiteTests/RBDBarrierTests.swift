import Foundation
import Testing

@testable import Rados

@Suite("The barrier behind a fence")
struct RBDBarrierTests {
    /// The share of a pool's objects that its smallest placement group has. Ceph folds the hash of a name to a number of as many
    /// bits as the groups take, and takes a bit off where there is no such group (`ceph_stable_mod`).
    private func shares(of groups: UInt64) -> [Double] {
        var power: UInt64 = 1
        while power < groups { power *= 2 }
        var counts = [UInt64](repeating: 0, count: Int(groups))
        for hash in 0..<power { counts[Int(hash < groups ? hash : hash & (power / 2 - 1))] += 1 }
        return counts.map { Double($0) / Double(power) }
    }

    @Test(
        "As many objects as are asked for -> no group is left out, with a probability of 1 in 10^10",
        arguments: [1, 2, 3, 8, 12, 17, 31, 32, 33, 96, 100, 1000, 2049] as [UInt64])
    func sample(groups: UInt64) {
        let count = Double(RBDBarrier.sample(of: .max, groups: groups))
        let missed = shares(of: groups).reduce(0) { $0 + pow(1 - $1, count) }
        #expect(missed < 1e-10)
    }

    @Test("A small image, or a number of groups that can't be -> all objects")
    func all() {
        #expect(RBDBarrier.sample(of: 5, groups: 8) == 5)
        #expect(RBDBarrier.sample(of: 5, groups: 0) == 5)
        #expect(RBDBarrier.sample(of: 5, groups: .max) == 5)
    }
}
