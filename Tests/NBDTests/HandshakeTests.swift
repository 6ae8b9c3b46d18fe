import TestSupport
import Testing

@testable import NBD

@Suite(.timeLimit(.minutes(10))) struct HandshakeTests {
    private let disk = Catalog().all[0]
    private let acknowledge: UInt32 = 1
    private let server: UInt32 = 2
    private let information: UInt32 = 3
    private let unsupported: UInt32 = 0x8000_0001
    private let invalid: UInt32 = 0x8000_0003
    private let unknown: UInt32 = 0x8000_0006
    private let tooBig: UInt32 = 0x8000_0009

    private func chosen(_ export: ExportDescription) -> Handshake.Progress {
        .transmission(Negotiation(export: export))
    }

    @Test func theGreetingOffersFixedNewstyleAndNoZeroes() {
        #expect(Handshake(tls: .off).greeting == Array("NBDMAGICIHAVEOPT".utf8) + [0, 3])
    }

    @Test(arguments: [UInt32(0), 1, 2, 3]) func knownClientFlagsAreAccepted(flags: UInt32) {
        let talk = Conversation(ClientBytes.flags(flags))
        #expect(talk.progress == .needsMore && talk.output.isEmpty && talk.input.isEmpty)
    }

    @Test(arguments: [UInt32(4), 7, 0x8000_0000, .max]) func unknownClientFlagsEndTheConnection(flags: UInt32) {
        #expect(Conversation(ClientBytes.flags(flags)).progress == .close)
    }

    @Test func exportNameRepliesSizeFlagsAndZeros() {
        let numbers = be(UInt64(1_000_000_007)) + be(UInt16(0xd6d))
        let bare = Conversation(ClientBytes.flags(3), ClientBytes.option(1, Array("disk".utf8)))
        #expect(bare.progress == chosen(disk) && bare.output == numbers)
        let padded = Conversation(ClientBytes.flags(1), ClientBytes.option(1))
        #expect(padded.progress == chosen(disk))
        #expect(padded.output == numbers + [UInt8](repeating: 0, count: 124))
    }

    @Test func aReadOnlyExportOffersNoChanges() {
        let talk = Conversation(ClientBytes.flags(3), ClientBytes.option(1, Array("späte Scheibe".utf8)))
        #expect(talk.output == be(UInt64(1)) + be(UInt16(0x50f)))
    }

    @Test(arguments: [UInt8(97), 0xff], [1, 4096, 4097])
    func exportNameOfAnUnknownExportEndsTheConnection(byte: UInt8, length: Int) {
        let talk = Conversation(ClientBytes.flags(3), ClientBytes.option(1, [UInt8](repeating: byte, count: length)))
        #expect(talk.progress == .close && talk.output.isEmpty)
    }

    @Test func abortIsAcknowledgedAndEndsTheConnection() {
        let talk = Conversation(ClientBytes.flags(), ClientBytes.option(2))
        #expect(talk.progress == .close)
        #expect(talk.answers == [Answer(option: 2, type: acknowledge, payload: [])])
    }

    @Test func listNamesEveryExport() {
        let talk = Conversation(ClientBytes.flags(), ClientBytes.option(3), ClientBytes.option(3, [0]))
        #expect(talk.progress == .needsMore)
        let names = ["disk", "späte Scheibe"].map { be(UInt32($0.utf8.count)) + $0.utf8 }
        #expect(talk.answers?.prefix(3).map(\.payload) == names + [[]])
        #expect(talk.answers?.map(\.type) == [server, server, acknowledge, invalid])
    }

    @Test func infoRepliesAndTheHandshakeContinues() throws {
        var talk = Conversation(ClientBytes.flags(), ClientBytes.go("disk", wanting: [1, 3, 999], type: 6))
        #expect(talk.progress == .needsMore)
        let answers = try #require(talk.answers)
        #expect(answers.map(\.type) == [information, information, information, acknowledge])
        #expect(answers.allSatisfy { $0.option == 6 })
        #expect(answers[0].payload == be(UInt16(0)) + be(UInt64(1_000_000_007)) + be(UInt16(0xd6d)))
        #expect(answers[1].payload == be(UInt16(3)) + be(UInt32(1)) + be(UInt32(4096)) + be(UInt32(32 << 20)))
        #expect(answers[2].payload == be(UInt16(1)) + Array("disk".utf8))
        talk.receive(ClientBytes.go("späte Scheibe"))
        #expect(talk.progress == chosen(Catalog().all[1]))
    }

    @Test(arguments: ["", "disk", "späte Scheibe", "none"], [[], [UInt16(3)], [1, 0, 3, 77]])
    func infoAndGoReplyTheSame(name: String, items: [UInt16]) throws {
        let info = Conversation(ClientBytes.flags(), ClientBytes.go(name, wanting: items, type: 6))
        let go = Conversation(ClientBytes.flags(), ClientBytes.go(name, wanting: items))
        let told = try #require(info.answers).map { Answer(option: 7, type: $0.type, payload: $0.payload) }
        #expect(told == go.answers)
        #expect(info.progress == .needsMore)
        let expected = Catalog().export(named: name).map { chosen($0) }
        #expect(go.progress == expected ?? .needsMore)
        if expected == nil { #expect(told.map(\.type) == [unknown]) }
    }

    /// The length of the name, the name, the number of items and the items must fill the option exactly.
    @Test(
        arguments: [
            [], [0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 1, 0],
            [0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 255, 255, 0, 0], [0, 0, 0, 1, 0, 0],
            [255, 255, 255, 255, 0, 0],
            [0, 0, 0, 1, 0xff, 0, 0], be(UInt32(4097)) + [97, 0, 0],
        ] as [[UInt8]], [UInt32(6), 7])
    func aMalformedQuestionIsRefusedAndTheNextIsAnswered(payload: [UInt8], type: UInt32) {
        var talk = Conversation(ClientBytes.flags(), ClientBytes.option(type, payload))
        #expect(talk.progress == .needsMore && talk.answers?.map(\.type) == [invalid])
        talk.receive(ClientBytes.go(""))
        #expect(talk.progress == chosen(disk))
    }

    @Test(arguments: [UInt32(0), 4, 12, 1000, .max], [0, 1, 65_536])
    func anUnknownOptionIsSkippedAndRefused(type: UInt32, length: Int) {
        var talk = Conversation(ClientBytes.flags(), ClientBytes.option(type, [UInt8](repeating: 0x49, count: length)))
        #expect(talk.answers?.map(\.type) == [unsupported] && talk.answers?.first?.option == type)
        #expect(talk.input.isEmpty)
        talk.receive(ClientBytes.go("disk"))
        #expect(talk.progress == chosen(disk))
    }

    @Test(arguments: [65_537, 1_000_003]) func aHugeOptionIsSkippedWithoutBeingKept(length: Int) {
        var talk = Conversation(ClientBytes.flags(), ClientBytes.option(7, length: UInt32(length)))
        var left = length
        while left > 0 {
            #expect(talk.output.isEmpty)
            talk.receive([UInt8](repeating: 0x49, count: min(left, 10_000)))
            left -= min(left, 10_000)
            #expect(talk.input.isEmpty)
        }
        #expect(talk.answers?.map(\.type) == [tooBig])
        talk.receive(ClientBytes.go("disk"))
        #expect(talk.progress == chosen(disk))
    }

    @Test func aHugeExportNameEndsTheConnection() {
        #expect(Conversation(ClientBytes.flags(), ClientBytes.option(1, length: .max)).progress == .close)
    }

    @Test func anOptionWithoutMagicEndsTheConnection() {
        #expect(Conversation(ClientBytes.flags(), [UInt8](repeating: 0x49, count: 16)).progress == .close)
    }

    @Test func tooManyOptionsEndTheConnection() {
        var talk = Conversation(ClientBytes.flags())
        for number in 0..<1024 {
            talk.receive(ClientBytes.option(number % 2 == 0 ? 99 : 3))
            #expect(talk.progress == .needsMore)
        }
        talk.receive(ClientBytes.go("disk"))
        #expect(talk.progress == .close)
    }

    @Test(arguments: [ClientBytes.option(1), ClientBytes.go("")])
    func requestsRightBehindTheChoiceStayInTheInput(choice: [UInt8]) {
        let requests = Array("requests of the client".utf8)
        let talk = Conversation(ClientBytes.flags() + choice + requests)
        #expect(talk.progress == chosen(disk) && Array(talk.input) == requests)
    }

    @Test func splitInputGivesTheSameResult() {
        var random = Seeded.fresh()
        for _ in 0..<300 {
            let bytes = randomConversation(&random)
            let whole = Conversation(bytes)
            var byByte = Conversation()
            for byte in bytes { byByte.receive([byte]) }
            var inPieces = Conversation()
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Int.random(in: 0...min(rest.count, 50), using: &random)
                inPieces.receive(rest.prefix(count))
                rest = rest.dropFirst(count)
            }
            for other in [byByte, inPieces] {
                #expect(other.output == whole.output && other.progress == whole.progress)
                // An ended handshake takes no more bytes, so the rest is the same, too.
                #expect(Array(other.input) == Array(whole.input))
            }
        }
    }

    @Test func randomInputGivesWellFormedAnswersAndAShortRest() {
        var random = Seeded.fresh()
        for _ in 0..<3000 {
            var bytes = randomConversation(&random)
            for _ in 0..<Int.random(in: 0...6, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
                    in: 0...255, using: &random)
            }
            if random.chance(10) { bytes = random.bytes(200) }
            var talk = Conversation()
            for start in stride(from: 0, to: bytes.count, by: 97) {
                talk.receive(bytes[start..<min(start + 97, bytes.count)])
                if talk.progress == .needsMore { #expect(talk.input.count <= (64 << 10) + 16 + 97) }
            }
            // Only EXPORT_NAME has a reply without a header, and it ends the handshake.
            if talk.answers == nil {
                #expect(Answer.all(in: talk.output.dropLast(10)) != nil || talk.output.suffix(124).max() == 0)
            }
        }
    }

    private func randomConversation(_ random: inout Seeded) -> [UInt8] {
        var bytes = ClientBytes.flags(UInt32.random(in: 0...3, using: &random))
        for _ in 0..<Int.random(in: 0...6, using: &random) {
            switch Int.random(in: 0..<8, using: &random) {
            case 0: bytes += ClientBytes.option(3)
            case 1: bytes += ClientBytes.go("späte Scheibe", wanting: [1, 3], type: 6)
            case 2: bytes += ClientBytes.go("none", type: random.chance(50) ? 6 : 7)
            case 3: bytes += ClientBytes.option(UInt32.random(in: 4...20, using: &random), random.bytes(30))
            case 4: bytes += ClientBytes.option(7, random.bytes(Int.random(in: 0...20, using: &random)))
            case 5 where random.chance(5): bytes += ClientBytes.option(8, random.bytes(70_000))
            case 6 where random.chance(20): bytes += ClientBytes.option(2)
            default: bytes += ClientBytes.option(3, [1])
            }
        }
        if random.chance(50) { bytes += random.chance(50) ? ClientBytes.go("disk") : ClientBytes.option(1) }
        return bytes + random.bytes(Int.random(in: 0...60, using: &random))
    }
}
