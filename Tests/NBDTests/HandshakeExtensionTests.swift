import Testing

@testable import NBD

/// Structured and extended replies, metadata contexts and TLS during the handshake.
@Suite(.timeLimit(.minutes(10))) struct HandshakeExtensionTests {
    private let disk = Catalog().all[0]
    private let other = Catalog().all[1]
    private let startTLS: UInt32 = 5
    private let structured: UInt32 = 8
    private let list: UInt32 = 9
    private let set: UInt32 = 10
    private let extended: UInt32 = 11
    private let acknowledge: UInt32 = 1
    private let context: UInt32 = 4
    private let policy: UInt32 = 0x8000_0002
    private let invalid: UInt32 = 0x8000_0003
    private let tlsRequired: UInt32 = 0x8000_0005
    private let unknown: UInt32 = 0x8000_0006
    private let tooBig: UInt32 = 0x8000_0009
    private let extendedRequired: UInt32 = 0x8000_000a

    private func chosen(
        _ export: ExportDescription, _ style: HeaderStyle = .simple, _ contexts: [MetaContext] = []
    ) -> Handshake.Progress {
        .transmission(Negotiation(export: export, style: style, contexts: contexts))
    }

    @Test func stylesAreAcknowledgedAndKept() {
        let plain = Conversation(ClientBytes.flags(), ClientBytes.option(structured), ClientBytes.go(""))
        #expect(plain.answers?.first == Answer(option: structured, type: acknowledge, payload: []))
        #expect(plain.progress == chosen(disk, .structured))
        let both = Conversation(
            ClientBytes.flags(), ClientBytes.option(structured), ClientBytes.option(extended), ClientBytes.go(""))
        #expect(both.progress == chosen(disk, .extended))
        let backwards = Conversation(
            ClientBytes.flags(), ClientBytes.option(extended), ClientBytes.option(structured), ClientBytes.go(""))
        #expect(backwards.answers?[1].type == extendedRequired && backwards.progress == chosen(disk, .extended))
        let withData = Conversation(
            ClientBytes.flags(), ClientBytes.option(structured, [0]), ClientBytes.option(extended, [0]),
            ClientBytes.go(""))
        #expect(withData.answers?.prefix(2).map(\.type) == [invalid, invalid] && withData.progress == chosen(disk))
    }

    @Test func structuredRepliesOfferDoNotFragment() {
        for (option, flags) in [(UInt32(99), UInt16(0xd6d)), (structured, 0xded), (extended, 0xded)] {
            for type in [UInt32(6), 7] {
                let talk = Conversation(
                    ClientBytes.flags(), ClientBytes.option(option), ClientBytes.go("disk", type: type))
                #expect(talk.answers?[1].payload == be(UInt16(0)) + be(disk.size) + be(flags))
            }
        }
        let old = Conversation(ClientBytes.flags(3), ClientBytes.option(structured), ClientBytes.option(1))
        #expect(old.output.suffix(2) == be(UInt16(0xded))[...] && old.progress == chosen(disk, .structured))
    }

    @Test func exportNameAfterExtendedHeadersEndsTheConnection() {
        #expect(
            Conversation(ClientBytes.flags(), ClientBytes.option(extended), ClientBytes.option(1)).progress == .close)
    }

    @Test func contextsNeedStructuredReplies() {
        for type in [list, set] {
            let talk = Conversation(
                ClientBytes.flags(), ClientBytes.meta(type, "disk", ["base:allocation"]), ClientBytes.go("disk"))
            #expect(talk.answers?.first?.type == invalid && talk.progress == chosen(disk))
        }
    }

    @Test(
        arguments: [
            ([], true), (["base:"], true), (["base:allocation"], true), (["x:y", "base:allocation"], true),
            (["base:other"], false), (["qemu:"], false), (["base"], false), ([":"], false), ([""], false),
        ] as [([String], Bool)])
    func listingFollowsTheRules(queries: [String], isListed: Bool) {
        let talk = Conversation(
            ClientBytes.flags(), ClientBytes.option(structured), ClientBytes.meta(list, "disk", queries))
        let item = Answer(option: list, type: context, payload: be(UInt32(0)) + Array("base:allocation".utf8))
        let end = Answer(option: list, type: acknowledge, payload: [])
        #expect(talk.answers?.dropFirst() == (isListed ? [item, end] : [end])[...])
    }

    @Test(
        arguments: [
            ([], false), (["base:"], false), (["base:allocation"], true),
            (["base:allocation", "base:allocation"], true), (["x:y"], false), (["base:allocatio"], false),
        ] as [([String], Bool)])
    func settingFollowsTheRules(queries: [String], isSet: Bool) {
        let talk = Conversation(
            ClientBytes.flags(), ClientBytes.option(structured), ClientBytes.meta(set, "disk", queries),
            ClientBytes.go("disk"))
        let item = Answer(option: set, type: context, payload: be(UInt32(1)) + Array("base:allocation".utf8))
        #expect((talk.answers?[1] == item) == isSet)
        #expect(talk.progress == chosen(disk, .structured, isSet ? [.allocation] : []))
    }

    /// An export's maps are contexts of that export only.
    @Test(
        arguments: [
            ([], [0, 1, 2]), (["qemu:"], [2]), (["qemu:dirty-bitmap:"], [2]), (["nearblock:"], [1]), (["base:"], [0]),
            (["qemu:dirty-bitmap:backup", "nearblock:missing"], [1, 2]), (["qemu:dirty-bitmap:other"], []),
        ] as [([String], [Int])])
    func mapsAreContexts(queries: [String], indices: [Int]) {
        let all = [MetaContext.allocation] + other.maps.enumerated().map { MetaContext(map: $1, index: $0) }
        func answers(_ type: UInt32) -> ArraySlice<Answer>? {
            Conversation(
                ClientBytes.flags(), ClientBytes.option(structured), ClientBytes.meta(type, other.name, queries)
            ).answers?
            .dropFirst()
        }
        let end = [Answer(option: list, type: acknowledge, payload: [])]
        let listed = indices.map {
            Answer(option: list, type: context, payload: be(UInt32(0)) + Array(all[$0].name.utf8))
        }
        #expect(answers(list) == (listed + end)[...])
        // SET_META_CONTEXT ignores wildcards.
        let chosen = indices.filter { queries.contains(all[$0].name) }
        let set = chosen.map {
            Answer(option: self.set, type: context, payload: be(all[$0].id) + Array(all[$0].name.utf8))
        }
        #expect(answers(self.set) == (set + [Answer(option: self.set, type: acknowledge, payload: [])])[...])
        let elsewhere = Conversation(
            ClientBytes.flags(), ClientBytes.option(structured), ClientBytes.meta(self.set, "disk", queries),
            ClientBytes.go("disk"))
        #expect(elsewhere.progress == self.chosen(disk, .structured))
    }

    /// The second option discards the contexts of the first, whatever its result.
    @Test func aFailedSetMetaContextDiscardsTheEarlierOne() {
        let first =
            ClientBytes.flags() + ClientBytes.option(structured) + ClientBytes.meta(set, "disk", ["base:allocation"])
        let seconds = [
            (ClientBytes.meta(set, "disk", ["x:y"]), acknowledge),
            (ClientBytes.meta(set, "none", ["base:allocation"]), unknown),
            (ClientBytes.option(set, [1, 2, 3]), invalid),
            (ClientBytes.option(set, [UInt8](repeating: 0, count: 70_000)), tooBig),
        ]
        for (second, answer) in seconds {
            let talk = Conversation(first, second, ClientBytes.go("disk"))
            #expect(talk.answers?[3].type == answer)
            #expect(talk.progress == chosen(disk, .structured))
        }
        // LIST_META_CONTEXT selects nothing.
        let listed = Conversation(first, ClientBytes.meta(list, "disk", ["x:y"]), ClientBytes.go("disk"))
        #expect(listed.progress == chosen(disk, .structured, [.allocation]))
    }

    @Test func contextsOfAnotherExportAreNotUsed() {
        let start = ClientBytes.flags() + ClientBytes.option(extended)
        let talk = Conversation(start, ClientBytes.meta(set, other.name, ["base:allocation"]), ClientBytes.go("disk"))
        #expect(talk.progress == chosen(disk, .extended))
        let same = Conversation(start, ClientBytes.meta(set, "", ["base:allocation"]), ClientBytes.go("disk"))
        #expect(same.progress == chosen(disk, .extended, [.allocation]))
    }

    @Test(
        arguments: [
            [], [0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 255, 255, 255, 255],
            [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 1], [0, 0, 0, 0, 0, 0, 0, 0, 0], [255, 255, 255, 255, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0xff],
        ] as [[UInt8]], [UInt32(9), 10])
    func malformedQueriesAreRefused(payload: [UInt8], type: UInt32) {
        var talk = Conversation(ClientBytes.flags(), ClientBytes.option(structured), ClientBytes.option(type, payload))
        #expect(talk.answers?[1].type == invalid)
        talk.receive(ClientBytes.go("disk"))
        #expect(talk.progress == chosen(disk, .structured))
    }

    // MARK: TLS

    @Test func withoutTLSStartTLSIsRefusedAndTheHandshakeContinues() {
        let talk = Conversation(ClientBytes.flags(), ClientBytes.option(startTLS), ClientBytes.go("disk"))
        #expect(talk.answers?.first?.type == policy && talk.progress == chosen(disk))
    }

    @Test func requiredTLSRefusesEveryOtherOption() {
        for option in [UInt32(3), 6, 7, 8, 9, 10, 11, 99] {
            let talk = Conversation(tls: .required, ClientBytes.flags(), ClientBytes.option(option, [1, 2]))
            #expect(talk.answers?.map(\.type) == [tlsRequired] && talk.progress == .needsMore)
        }
        let long = Conversation(
            tls: .required, ClientBytes.flags(), ClientBytes.option(7, [UInt8](repeating: 0, count: 70_000)))
        #expect(long.answers?.map(\.type) == [tlsRequired])
        #expect(Conversation(tls: .required, ClientBytes.flags(), ClientBytes.option(1)).progress == .close)
        let abort = Conversation(tls: .required, ClientBytes.flags(), ClientBytes.option(2))
        #expect(abort.answers?.map(\.type) == [acknowledge] && abort.progress == .close)
    }

    @Test(arguments: [TLSPolicy.optional, .required]) func insideTLSEveryOptionIsAnswered(policy: TLSPolicy) {
        var talk = Conversation(tls: policy, ClientBytes.flags(), ClientBytes.option(startTLS))
        #expect(talk.answers?.map(\.type) == [acknowledge] && talk.progress == .startTLS)
        talk.receive(ClientBytes.option(startTLS))
        #expect(talk.answers?.last?.type == invalid)
        talk.receive(ClientBytes.go("disk"))
        #expect(talk.progress == chosen(disk))
    }

    @Test func optionalTLSServesClientsInTheClear() {
        #expect(Conversation(tls: .optional, ClientBytes.flags(), ClientBytes.go("disk")).progress == chosen(disk))
        let withData = Conversation(
            tls: .optional, ClientBytes.flags(), ClientBytes.option(startTLS, [1]), ClientBytes.go("disk"))
        #expect(withData.answers?.first?.type == invalid && withData.progress == chosen(disk))
    }

    @Test func startTLSDiscardsEarlierAgreements() {
        var talk = Conversation(
            tls: .optional, ClientBytes.flags(), ClientBytes.option(extended),
            ClientBytes.meta(set, "disk", ["base:allocation"]),
            ClientBytes.option(startTLS))
        talk.receive(ClientBytes.go("disk"))
        #expect(talk.progress == chosen(disk))
    }

    /// Bytes in the clear behind STARTTLS stay unread, and the caller drops them.
    @Test func bytesBehindStartTLSAreNotParsed() {
        let injected = ClientBytes.go("disk")
        var handshake = Handshake(tls: .required)
        var input = (ClientBytes.flags() + ClientBytes.option(startTLS) + injected)[...]
        var output: [UInt8] = []
        let progress = handshake.receive(&input, output: &output, catalog: Catalog())
        #expect(progress == .startTLS && Array(input) == injected)
    }

    // MARK: Bounds

    /// A client that sends options without reading gets its answers in portions.
    @Test func manyOptionsAreAnsweredInPortions() {
        var handshake = Handshake(tls: .off)
        var input =
            (ClientBytes.flags() + (0..<900).flatMap { _ in ClientBytes.go("disk", wanting: [1, 2, 3], type: 6) })[...]
        var total = 0
        var portions = 0
        while true {
            var output: [UInt8] = []
            let progress = handshake.receive(&input, output: &output, catalog: Catalog())
            #expect(output.count < 80_000)
            total += output.count
            guard progress == .needsSending else { break }
            portions += 1
        }
        #expect(portions > 0 && input.isEmpty && total > 64 << 10)
    }

    @Test func anUnlistedServerRefusesList() {
        struct Silent: ExportCatalog {
            func export(named name: String) -> ExportDescription? { Catalog().export(named: name) }
            func exports() -> [ExportDescription]? { nil }
        }
        var handshake = Handshake(tls: .off)
        var input = (ClientBytes.flags() + ClientBytes.option(3))[...]
        var output: [UInt8] = []
        _ = handshake.receive(&input, output: &output, catalog: Silent())
        #expect(Answer.all(in: output)?.map(\.type) == [policy])
    }

    @Test func descriptionsAreSentOnRequest() {
        struct Described: ExportCatalog {
            let only = ExportDescription(
                name: "d", size: 5, isReadOnly: true, isRotational: true, text: "for people")
            func export(named name: String) -> ExportDescription? { only }
            func exports() -> [ExportDescription]? { [only] }
        }
        var handshake = Handshake(tls: .off)
        var input = (ClientBytes.flags() + ClientBytes.option(3) + ClientBytes.go("d", wanting: [2], type: 6))[...]
        var output: [UInt8] = []
        _ = handshake.receive(&input, output: &output, catalog: Described())
        let answers = Answer.all(in: output) ?? []
        #expect(answers.first?.payload == be(UInt32(1)) + Array("dfor people".utf8))
        #expect(answers.contains { $0.payload == be(UInt16(2)) + Array("for people".utf8) })
        #expect(answers.contains { $0.payload == be(UInt16(0)) + be(UInt64(5)) + be(UInt16(0x51f)) })
    }
}
