import Testing

@testable import Hashing
@testable import Index

@Suite struct ZeroTests {
    @Test func zerosAreZeroAtAnyLengthAndAlignment() {
        let bytes = [UInt8](repeating: 0, count: 300)
        for start in 0..<17 {
            for end in start...300 {
                #expect(bytes.withUnsafeBytes { isAllZero(.init(rebasing: $0[start..<end])) })
            }
        }
    }

    @Test func oneBitAnywhereIsSeen() {
        for count in [1, 7, 15, 16, 17, 31, 33, 100, 513] {
            for place in 0..<count {
                var bytes = [UInt8](repeating: 0, count: count + 1)
                bytes[place + 1] = 0x80
                #expect(!bytes.withUnsafeBytes { isAllZero(.init(rebasing: $0[1...])) })
                #expect(bytes.withUnsafeBytes { isAllZero(.init(rebasing: $0[..<(place + 1)])) })
            }
        }
    }
}
