import Block
import Foundation
import Index
import TestSupport
import Testing

@testable import BlockModel
@testable import Hashing
@testable import Migration

/// The hashes that both sides must come to; worked out elsewhere, with Python's hashlib.
@Suite("Golden: hashes")
struct GoldenHashTests {
    private let scratch = Scratch()

    private func file(_ geometry: BlockGeometry) throws -> FingerprintFile {
        try FingerprintFile(geometry: geometry, directory: scratch.path)
    }

    private func threeBlocks() throws -> FingerprintFile {
        let file = try file(BlockGeometry(size: 4096 * 2 + 5, blockSize: 4096)!)
        try file.set(
            [
                Fingerprint(high: 0x0102_0304_0506_0708, low: 0x090a_0b0c_0d0e_0f10), .zero,
                Fingerprint(high: 0xfffe_fdfc_fbfa_f9f8, low: 1),
            ], from: 0)
        return file
    }

    @Test("A block's fingerprint is the first half of its SHA-256, and zero for zeros")
    func fingerprint() {
        let hasher = BlockHasher()
        let block = [UInt8](repeating: UInt8(ascii: "a"), count: 4096)
        #expect(
            block.withUnsafeBytes { hasher.fingerprint($0) }
                == Fingerprint(high: 0xc93e_ee2d_0db0_2f10, low: 0xacc7_460d_9576_e122))
        #expect([UInt8](repeating: 0, count: 4096).withUnsafeBytes { hasher.fingerprint($0) } == .zero)
    }

    @Test("The check of several fingerprints is the hash of their bytes in a row")
    func combined() {
        let fingerprints = [Fingerprint(high: 1, low: 2), Fingerprint(high: 3, low: .max)]
        #expect(
            Fingerprint.combined(fingerprints)
                == Fingerprint(high: 0x0f7b_30e6_b1ef_e9c0, low: 0xac39_8510_0c2d_6c05))
        #expect(Fingerprint.combined([Fingerprint]()) == .zero)
    }

    @Test("The root is over the size, the block size and the hash of each 4096 fingerprints")
    func root() throws {
        #expect(
            try threeBlocks().root().description == "fc981a3e23185c5a0878222344de81ccceb130120fb5ac0177405dbbd1f9887e")
        let sparse = try file(BlockGeometry(size: 5000 * 512, blockSize: 512)!)
        try sparse.set([Fingerprint(high: 7, low: 8)], from: 4999)
        #expect(try sparse.root().description == "3d34de22aa749f4ea07e85076d721794bdc6d862dbe1084699329f9325f9f522")
    }

    @Test("A root without some blocks has zeros for them, and names them")
    func rootWithout() throws {
        #expect(
            try threeBlocks().root(without: [0..<2]).description
                == "93a8c900199be39778a2456c25fa85f1f72d566a2307ec4f38b8f5632d76a4d2")
    }

    @Test("The manifest of a disk that arrives is 16 bytes a block")
    func manifest() throws {
        let path = scratch.file("manifest")
        let geometry = BlockGeometry(size: 512 * 3, blockSize: 512)!
        do {
            let file = try FingerprintFile(geometry: geometry, path: path, isNew: true)
            try file.set([Fingerprint(high: 0x0102_0304_0506_0708, low: 0x090a_0b0c_0d0e_0f10)], from: 1)
        }
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        let zeros = String(repeating: "0", count: 32)
        #expect(GoldenValues.hex(bytes) == zeros + "0102030405060708090a0b0c0d0e0f10" + zeros)
        let later = try FingerprintFile(geometry: geometry, path: path, isNew: false)
        #expect(try later.fingerprints(of: 0..<2)[1].low == 0x090a_0b0c_0d0e_0f10)
    }
}
