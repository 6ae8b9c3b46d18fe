import Testing

@testable import Migration
@testable import MigrationProtocol

@Suite("Pieces of another host's images")
struct LentPiecesTests {
    private static let table = [UInt8](repeating: 1, count: 16)
    private static let capacity = 512
    private static let length = Int(LentPieces.length)

    private func key(_ number: UInt64) -> LentPieces.Key { LentPieces.Key(table: Self.table, number: number) }

    private func bytes(_ content: LentPieces.Content?) -> [UInt8]? {
        guard case .here(let bytes) = content else { return nil }
        return bytes
    }

    @Test(
        "A range -> the pieces that it touches",
        arguments: [(0..<1, 0..<1), (65_535..<65_537, 0..<2), (65_536..<131_072, 1..<2), (5..<5, 0..<0)])
    func numbers(_ range: Range<UInt64>, _ numbers: Range<UInt64>) {
        #expect(LentPieces.numbers(of: range) == numbers)
    }

    @Test("Pieces side by side -> one request of at most 1 MiB; those that were asked for -> none")
    func requests() {
        var pieces = LentPieces(capacity: Self.capacity)
        let first = pieces.ask(Self.table, 0..<20, isNeeded: false)
        #expect(first.map(\.offset) == [0, 1 << 20] && first.map(\.length) == [1 << 20, 4 << 16])
        #expect(pieces.ask(Self.table, 0..<20, isNeeded: true).isEmpty)
        let around = pieces.ask(Self.table, 18..<22, isNeeded: true)
        #expect(around.map(\.offset) == [20 << 16] && around.map(\.length) == [2 << 16])
        #expect(pieces.isWaiting)
    }

    @Test("An answer -> its pieces, short at the image's end; one that is too long, or not asked for -> refused")
    func answers() {
        var pieces = LentPieces(capacity: Self.capacity)
        let read = pieces.ask(Self.table, 0..<3, isNeeded: true)[0]
        let answer = [UInt8](repeating: 7, count: Self.length + 5)
        let isTaken = pieces.take(read.id, answer)
        #expect(isTaken && !pieces.isWaiting)
        #expect(bytes(pieces.content(key(0))) == [UInt8](repeating: 7, count: Self.length))
        #expect(bytes(pieces.content(key(1))) == [UInt8](repeating: 7, count: 5))
        #expect(bytes(pieces.content(key(2))) == [])
        let again = pieces.take(read.id, answer)
        #expect(!again)
        let next = pieces.ask(Self.table, 5..<6, isNeeded: true)[0]
        let tooLong = pieces.take(next.id, [UInt8](repeating: 0, count: Self.length + 1))
        #expect(!tooLong)
    }

    @Test("More pieces than are kept -> the oldest go; more ahead of use than is asked for -> only what is needed")
    func bounds() {
        var pieces = LentPieces(capacity: Self.capacity)
        for number in 0..<UInt64(Self.capacity + 10) {
            for read in pieces.ask(Self.table, number..<number + 1, isNeeded: true) {
                _ = pieces.take(read.id, [1])
            }
        }
        #expect(bytes(pieces.content(key(9))) == nil && bytes(pieces.content(key(10))) == [1])
        let ahead = pieces.ask(Self.table, 10_000..<11_000, isNeeded: false)
        #expect(ahead.reduce(0) { $0 + Int($1.length) } == 256 * Self.length)
        #expect(pieces.ask(Self.table, 20_000..<20_001, isNeeded: false).isEmpty)
        #expect(pieces.ask(Self.table, 20_000..<20_001, isNeeded: true).count == 1)
    }

    @Test("A piece is dropped, or the connection ends -> it is asked for again; pieces that are here stay")
    func afterwards() {
        var pieces = LentPieces(capacity: Self.capacity)
        let read = pieces.ask(Self.table, 0..<2, isNeeded: true)[0]
        _ = pieces.take(read.id, [UInt8](repeating: 3, count: 2 * Self.length))
        pieces.drop(key(0))
        #expect(pieces.ask(Self.table, 0..<2, isNeeded: true).map(\.offset) == [0])
        pieces.giveUp()
        #expect(!pieces.isWaiting && bytes(pieces.content(key(1)))?.count == Self.length)
        #expect(pieces.ask(Self.table, 0..<2, isNeeded: true).map(\.offset) == [0])
    }
}
