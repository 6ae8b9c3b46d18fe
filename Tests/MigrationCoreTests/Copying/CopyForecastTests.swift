import Testing

@testable import MigrationCore

@Suite("How long copying will still take")
struct CopyForecastTests {
    private static let mebibyte: UInt64 = 1 << 20

    /// Blocks that come to what they may come to.
    private static func piece(_ bytes: UInt64, ratio: Double, waiting: Double, idle: Double) -> CopyForecast.Piece {
        CopyForecast.Piece(
            bytes: bytes, length: UInt64(Double(bytes) * ratio), ratio: ratio, waiting: waiting, idle: idle)
    }

    @Test("Of a disk that is wanted evenly, what is not answered yet will be wanted alike")
    func evenly() throws {
        var forecast = CopyForecast()
        forecast.data = 1000 * Self.mebibyte
        #expect(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0) == nil)
        // Half of it is wanted, and 10 MiB go over in a second.
        forecast.note(answered: 400 * Self.mebibyte, wanted: 200 * Self.mebibyte, ratio: 1, after: 2)
        forecast.note(Self.piece(100 * Self.mebibyte, ratio: 1, waiting: 10, idle: 0))
        let left = try #require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0))
        #expect(abs(left - 40.2) < 0.1)
    }

    @Test("A moment's sending says nothing, even where it is known what is to be sent")
    func tooEarly() {
        var forecast = Self.allWanted(100 * Self.mebibyte, ratio: 1)
        forecast.note(Self.piece(5 * Self.mebibyte, ratio: 1, waiting: 0.8, idle: 0))
        #expect(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0) == nil)
        forecast.note(Self.piece(5 * Self.mebibyte, ratio: 1, waiting: 0.8, idle: 0))
        #expect(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0) != nil)
    }

    @Test("What the guest writes comes on top, and one half as fast as the link leaves no end in sight")
    func written() throws {
        var forecast = Self.allWanted(100 * Self.mebibyte, ratio: 1)
        forecast.note(Self.piece(100 * Self.mebibyte, ratio: 1, waiting: 10, idle: 0))
        let left = try #require(
            forecast.secondsLeft(dirty: 20 * Self.mebibyte, dirtyPerSecond: Double(4 * Self.mebibyte)))
        #expect(abs(left - 3.53) < 0.1)
        #expect(forecast.secondsLeft(dirty: Self.mebibyte, dirtyPerSecond: Double(6 * Self.mebibyte)) == nil)
    }

    /// Of a disk of which all is wanted, and the destination has said so after a second.
    private static func allWanted(_ bytes: UInt64, ratio: Double) -> CopyForecast {
        var forecast = CopyForecast()
        forecast.data = bytes
        forecast.note(answered: bytes, wanted: bytes, ratio: ratio, after: 1)
        return forecast
    }

    /// Of a disk of which all is wanted, and half of it shrinks.
    private static func halfHard() -> CopyForecast {
        var forecast = CopyForecast()
        forecast.data = 200 * mebibyte
        forecast.note(answered: 100 * mebibyte, wanted: 100 * mebibyte, ratio: 1, after: 1)
        forecast.note(answered: 100 * mebibyte, wanted: 100 * mebibyte, ratio: 0.2, after: 1)
        return forecast
    }

    @Test("What is hard to compress takes longer than what is not")
    func compressible() throws {
        var forecast = Self.halfHard()
        forecast.note(Self.piece(100 * Self.mebibyte, ratio: 1, waiting: 10, idle: 0))
        #expect(try abs(#require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0)) - 2.2) < 0.1)
        forecast.note(Self.piece(100 * Self.mebibyte, ratio: 0.2, waiting: 2, idle: 0))
        #expect(try abs(#require(forecast.secondsLeft(dirty: 10 * Self.mebibyte, dirtyPerSecond: 0)) - 0.70) < 0.01)
    }

    @Test("Where blocks are waited for and not the link, what matters is how many they are")
    func prepared() throws {
        var forecast = Self.halfHard()
        // The first are waited for longer, which says nothing.
        forecast.note(Self.piece(Self.mebibyte, ratio: 1, waiting: 0, idle: 50))
        forecast.note(Self.piece(99 * Self.mebibyte, ratio: 1, waiting: 0, idle: 10))
        #expect(try abs(#require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0)) - 10.2) < 0.2)
    }

    @Test("Blocks whose bytes come late count when these come, for what they came to")
    func late() throws {
        var forecast = Self.allWanted(200 * Self.mebibyte, ratio: 0.5)
        var piece = Self.piece(20 * Self.mebibyte, ratio: 0.5, waiting: 0, idle: 0)
        piece.late = 20 * Self.mebibyte
        piece.length = 0
        forecast.note(piece)
        #expect(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0) == nil)
        // Of what was named so far, all but 10 MiB come to what the samples say, at 2 MiB a second.
        piece = Self.piece(30 * Self.mebibyte, ratio: 0.5, waiting: 10, idle: 0)
        piece.late = 10 * Self.mebibyte
        piece.length = 20 * Self.mebibyte
        forecast.note(piece)
        #expect(try abs(#require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0)) - 40.2) < 0.1)
    }

    @Test("What comes late is what was named first")
    func inOrder() throws {
        var forecast = Self.halfHard()
        var piece = Self.piece(100 * Self.mebibyte, ratio: 1, waiting: 0, idle: 0)
        piece.late = piece.bytes
        piece.length = 0
        forecast.note(piece)
        // What shrinks is named, and what does not comes.
        piece = Self.piece(100 * Self.mebibyte, ratio: 0.2, waiting: 10, idle: 0)
        piece.late = piece.bytes
        piece.length = 100 * Self.mebibyte
        forecast.note(piece)
        #expect(try abs(#require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0)) - 2.2) < 0.1)
    }

    @Test("What samples say is believed until much was sent that says otherwise")
    func believed() throws {
        var forecast = Self.allWanted(10_000 * Self.mebibyte, ratio: 0.1)
        // Twice what the samples say, at 1 MiB a second.
        func send(_ mebibytes: UInt64) throws -> Double {
            var piece = Self.piece(mebibytes * 10 * Self.mebibyte, ratio: 0.1, waiting: Double(mebibytes) * 2, idle: 0)
            piece.length *= 2
            forecast.note(piece)
            return try #require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0))
        }
        #expect(try abs(send(2) / 998 - 1.06) < 0.02)
        #expect(try abs(send(498) / 500 - 1.94) < 0.02)
    }

    @Test("A link carries what it was seen to carry, and what waits for it in the kernel comes on top")
    func carried() throws {
        var forecast = Self.allWanted(100 * Self.mebibyte, ratio: 1)
        var piece = Self.piece(40 * Self.mebibyte, ratio: 1, waiting: 2, idle: 0)
        piece.queued = 10 * Self.mebibyte
        piece.stretch = LinkUse.Stretch(wasFull: true, carried: 20 * Self.mebibyte, seconds: 2)
        forecast.note(piece)
        #expect(try abs(#require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0)) - 7.2) < 0.1)
    }

    @Test("A link that is not seen to be full any more carries what is sent")
    func notFull() throws {
        var forecast = Self.allWanted(10_000 * Self.mebibyte, ratio: 1)
        var piece = Self.piece(1000 * Self.mebibyte, ratio: 1, waiting: 10, idle: 0)
        piece.stretch = LinkUse.Stretch(wasFull: true, carried: piece.length, seconds: 10)
        forecast.note(piece)
        #expect(try abs(#require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0)) - 90) < 1)
        for _ in 0..<50 { forecast.note(Self.piece(10 * Self.mebibyte, ratio: 1, waiting: 1, idle: 0)) }
        #expect(try abs(#require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0)) - 850) < 20)
    }

    @Test("What the kernel took at once is on its way while nothing follows")
    func overlapping() throws {
        var forecast = Self.allWanted(1000 * Self.mebibyte, ratio: 1)
        // 100 MiB a second, and then what takes 1 s to prepare and 0.6 s to be carried.
        var piece = Self.piece(100 * Self.mebibyte, ratio: 1, waiting: 1, idle: 0)
        piece.stretch = LinkUse.Stretch(wasFull: true, carried: piece.length, seconds: 1)
        forecast.note(piece)
        for _ in 0..<5 { forecast.note(Self.piece(60 * Self.mebibyte, ratio: 1, waiting: 0, idle: 1)) }
        #expect(try abs(#require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0)) - 9.6) < 1)
    }

    @Test("What waits in the kernel is all that is left in the end, and zeros change nothing")
    func end() throws {
        var forecast = Self.allWanted(100 * Self.mebibyte, ratio: 1)
        var piece = Self.piece(100 * Self.mebibyte, ratio: 1, waiting: 10, idle: 0)
        piece.queued = 40 * Self.mebibyte
        forecast.note(piece)
        #expect(try abs(#require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0)) - 4.2) < 0.1)
        let before = forecast
        for _ in 0..<100 { forecast.note(Self.piece(0, ratio: 1, waiting: 60, idle: 60)) }
        #expect(forecast == before)
    }

    @Test("A link that had nothing to do soon has again, where blocks can be compressed with less effort")
    func faster() throws {
        for (lastingIdle, expected) in [(1.0, 18.0), (0.2, 15.2), (0, 12.7)] {
            var forecast = Self.allWanted(300 * Self.mebibyte, ratio: 1)
            for _ in 0..<2 {
                var piece = Self.piece(50 * Self.mebibyte, ratio: 1, waiting: 2.5, idle: 2.5)
                piece.lastingIdle = lastingIdle
                forecast.note(piece)
            }
            let left = try #require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0))
            #expect(abs(left - expected) < 0.3, "\(lastingIdle)")
        }
    }

    @Test("Nothing is said of what has just begun, and the rate is that of late")
    func lately() throws {
        var forecast = CopyForecast()
        forecast.data = 2000 * Self.mebibyte
        forecast.note(answered: 1000 * Self.mebibyte, wanted: 1000 * Self.mebibyte, ratio: 1, after: 1)
        forecast.note(Self.piece(Self.mebibyte, ratio: 1, waiting: 1, idle: 0))
        #expect(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0) == nil)
        // 1 MiB a second, then 10.
        for _ in 0..<2 { forecast.note(Self.piece(Self.mebibyte, ratio: 1, waiting: 1, idle: 0)) }
        #expect(try #require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0)) > 1000)
        for _ in 0..<40 { forecast.note(Self.piece(10 * Self.mebibyte, ratio: 1, waiting: 1, idle: 0)) }
        #expect(try abs(#require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0)) - 160) < 3)
    }

    @Test("Where the destination has everything, telling it what there is takes the time")
    func found() throws {
        var forecast = CopyForecast()
        forecast.data = 400 * Self.mebibyte
        forecast.note(answered: 100 * Self.mebibyte, wanted: 0, ratio: 1, after: 3)
        #expect(try abs(#require(forecast.secondsLeft(dirty: 0, dirtyPerSecond: 0)) - 9.2) < 0.1)
    }

    @Test("What the guest writes is counted by rounds")
    func rounds() {
        let start = ContinuousClock.now
        var rate = DirtyRate(from: start)
        #expect(rate.bytesPerSecond(100, at: start) == 0)
        #expect(rate.bytesPerSecond(500, at: start + .seconds(5)) == 100)
        rate.endRound(800, at: start + .seconds(8))
        rate.endRound(50, at: start + .seconds(9))
        #expect(rate.bytesPerSecond(900, at: start + .seconds(20)) == 50)
        // What a round does not go over was not written while it went on.
        rate.beginRound(leaving: 1000)
        rate.endRound(1040, at: start + .seconds(10))
        #expect(rate.bytesPerSecond(900, at: start + .seconds(20)) == 40)
    }

    @Test("The rate of the link is that of the last seconds")
    func recently() {
        let start = ContinuousClock.now
        var rate = RecentRate()
        #expect(rate.perSecond == 0)
        for tenth in 0..<100 {
            let count = tenth < 50 ? tenth * 10 : 500 + (tenth - 50) * 100
            rate.note(UInt64(count), at: start + .milliseconds(tenth * 100))
        }
        #expect(abs(rate.perSecond - 1000) < 1)
    }
}
