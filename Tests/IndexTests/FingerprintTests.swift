import Testing

@testable import Hashing
@testable import Index

@Suite struct FingerprintTests {
    @Test func theHashIsSHA256() {
        let hasher = BlockHasher()
        for _ in 0..<2 {
            let digest = Array("abc".utf8).withUnsafeBytes { hasher.digest($0) }
            #expect(digest.prefix(8) == [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea])
            #expect(digest.suffix(4) == [0xf2, 0x00, 0x15, 0xad])
            let fingerprint = Array("abc".utf8).withUnsafeBytes { hasher.fingerprint($0) }
            #expect(fingerprint == Fingerprint(high: 0xba78_16bf_8f01_cfea, low: 0x4141_40de_5dae_2223))
        }
    }

    @Test func theDigestOfNothingIsThatOfTheEmptyString() {
        let digest = [UInt8]().withUnsafeBytes { BlockHasher().digest($0) }
        #expect(digest.prefix(4) == [0xe3, 0xb0, 0xc4, 0x42])
    }

    @Test func storedBytesReadBackAndOrderLikeNumbers() {
        let small = Fingerprint(high: 0x01ff, low: 7)
        let large = Fingerprint(high: 0x0200, low: 0)
        func bytes(_ fingerprint: Fingerprint) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: Fingerprint.byteCount)
            bytes.withUnsafeMutableBytes { fingerprint.store(into: $0) }
            return bytes
        }
        #expect(small < large && bytes(small).lexicographicallyPrecedes(bytes(large)))
        #expect(bytes(small).withUnsafeBytes { Fingerprint(bytes: $0) } == small)
    }

    @Test func aBlockOfZerosHasTheZeroFingerprint() {
        let block = [UInt8](repeating: 0, count: 4096)
        #expect(block.withUnsafeBytes { BlockHasher().fingerprint($0) } == .zero)
    }
}
