import MigrationProtocol
import Testing

@testable import MigrationCore

@Suite("The connections of a channel take turns")
struct ChannelTurnsTests {
    @Test("A connection for a channel that is carried -> the old one is closed, and has ended before it begins")
    func replaced() {
        var turns = ChannelTurns()
        #expect(turns.came(1, for: .bulk) == [.begin(1)])
        #expect(turns.came(2, for: .bulk) == [.close(1)])
        #expect(turns.current == [1])
        #expect(turns.ended(1, of: .bulk) == [.begin(2)])
        #expect(turns.ended(2, of: .bulk) == [])
        #expect(turns.came(3, for: .bulk) == [.begin(3)])
    }

    @Test("Channels know nothing of each other")
    func channels() {
        var turns = ChannelTurns()
        #expect(turns.came(1, for: .bulk) == [.begin(1)])
        #expect(turns.came(2, for: .demand) == [.begin(2)])
        #expect(turns.current.sorted() == [1, 2])
        #expect(turns.ended(1, of: .bulk) == [])
        #expect(turns.current == [2])
    }

    @Test("Several wait -> each has its turn, and only the newest stays")
    func several() {
        var turns = ChannelTurns()
        _ = turns.came(1, for: .demand)
        #expect(turns.came(2, for: .demand) == [.close(1)])
        #expect(turns.came(3, for: .demand) == [.close(1)])
        #expect(turns.ended(1, of: .demand) == [.begin(2), .close(2)])
        #expect(turns.ended(2, of: .demand) == [.begin(3)])
    }
}
