import BlockModel
import Testing

@Suite("Even pieces of runs")
struct EvenPiecesTests {
    @Test("All fit -> the pieces are the runs")
    func all() {
        #expect(EvenPieces.of([0..<10, 20..<25], piece: 4, most: 15) == [0..<4, 4..<8, 8..<10, 20..<24, 24..<25])
        #expect(EvenPieces.of([], piece: 4, most: 5).isEmpty && EvenPieces.of([0..<5], piece: 4, most: 0).isEmpty)
    }

    @Test("More than fit -> so many, evenly spread, however large the runs are")
    func some() {
        let pieces = EvenPieces.of([0..<1000], piece: 4, most: 100)
        #expect(pieces.count == 25 && pieces.allSatisfy { $0.count == 4 })
        #expect(zip(pieces, pieces.dropFirst()).allSatisfy { $1.lowerBound - $0.lowerBound == 40 })
        let large = EvenPieces.of([0..<1 << 50, 1 << 51..<1 << 51 + 3], piece: 1, most: 128)
        #expect((126...128).contains(large.count) && large[64].lowerBound > 1 << 48)
        let short = EvenPieces.of((0..<1000).map { $0 * 10..<$0 * 10 + 3 }, piece: 4, most: 512)
        #expect(short.count == 170 && short[85].lowerBound > 4500 && short[85].lowerBound < 5500)
    }
}
