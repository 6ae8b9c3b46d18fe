import Testing

@testable import Block
@testable import BlockModel

@Suite struct ReadCountsTests {
    private static let part: UInt64 = 1 << 20

    @Test("Parts are listed by their reads, and unread parts are left out")
    func mostRead() {
        let size = 10 * Self.part - 5
        let counts = ReadCounts(size: size)
        #expect(counts.mostRead(limit: 9) == [])
        for _ in 0..<3 { counts.note(offset: 9 * Self.part, length: 10) }
        for _ in 0..<2 { counts.note(offset: 4 * Self.part - 1, length: 2) }
        counts.note(offset: 0, length: 1)
        counts.note(offset: size, length: 0)
        let expected = [
            9 * Self.part..<size, 3 * Self.part..<4 * Self.part, 4 * Self.part..<5 * Self.part, 0..<Self.part,
        ]
        #expect(counts.mostRead(limit: 9) == expected)
        #expect(counts.mostRead(limit: 2) == Array(expected.prefix(2)))
    }

    @Test("A huge disk has larger parts, and no more of them", arguments: [1 << 40, 1 << 50, 9 << 60, UInt64.max])
    func huge(_ size: UInt64) {
        let part = ReadCounts.part(of: size)
        #expect((1 << 19...1 << 20).contains(size / part))
        let counts = ReadCounts(size: size)
        counts.note(offset: size - 1, length: 1)
        #expect(counts.mostRead(limit: 2) == [(size - 1) / part * part..<size])
    }

    @Test("A disk of no bytes has no parts")
    func empty() { #expect(ReadCounts(size: 0).mostRead(limit: 5) == []) }
}
