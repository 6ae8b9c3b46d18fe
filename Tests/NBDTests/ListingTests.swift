import Testing

@testable import NBD

/// Handshakes with the largest number of exports.
@Suite(.timeLimit(.minutes(10))) struct ListingTests {
    private struct Many: ExportCatalog {
        let all = (0..<5000).map { number in
            var export = ExportDescription(name: "export \(number)", size: 1 << 20, isReadOnly: false)
            export.requiresTLS = number % 1000 == 7
            return export
        }

        func export(named name: String) -> ExportDescription? {
            name.split(separator: " ").last.flatMap { Int($0) }.flatMap { all.indices.contains($0) ? all[$0] : nil }
        }

        func exports() -> [ExportDescription]? { all }
    }

    private struct Lister {
        var handshake = Handshake(tls: .optional)
        var mostAtOnce = 0
        let catalog = Many()

        /// Sends all output portion by portion; returns it with the last progress.
        mutating func receive(_ bytes: [UInt8]) -> ([Answer], Handshake.Progress) {
            var input = bytes[...]
            var answers: [Answer] = []
            while true {
                var output: [UInt8] = []
                let progress = handshake.receive(&input, output: &output, catalog: catalog)
                mostAtOnce = max(mostAtOnce, output.count)
                answers += Answer.all(in: output) ?? []
                if progress != .needsSending { return (answers, progress) }
            }
        }
    }

    @Test func twoOptionsForEachOf5000ExportsAreAnswered() {
        var lister = Lister()
        _ = lister.receive(ClientBytes.flags() + ClientBytes.option(8))
        let (list, _) = lister.receive(ClientBytes.option(3))
        #expect(list.count == 4995 + 1 && list.last?.type == 1)
        for export in lister.catalog.all where !export.requiresTLS {
            let (answers, progress) = lister.receive(
                ClientBytes.go(export.name, type: 6) + ClientBytes.meta(9, export.name))
            #expect(answers.count { $0.type == 1 } == 2 && progress == .needsMore)
        }
        // A list is sent in portions, so that the server never holds all of it for a client.
        #expect(lister.mostAtOnce < 70 << 10)
        #expect(lister.handshake.optionsServed == 2 + 2 * 4995)
    }

    @Test func tooManyOptionsWithoutProgressEndTheConnection() {
        var lister = Lister()
        _ = lister.receive(ClientBytes.flags())
        var progress = Handshake.Progress.needsMore
        var options = 0
        while progress == .needsMore, options <= 50_000 {
            (_, progress) = lister.receive(ClientBytes.option(99))
            options += 1
        }
        #expect(progress == .close && options == 5000 * 8 + 1)
        #expect(lister.handshake.optionsServed == 0)
    }

    @Test func anExportThatRequiresTLSIsRefusedInTheClear() {
        for choice in [ClientBytes.go("export 7"), ClientBytes.go("export 7", type: 6)] {
            var lister = Lister()
            let (answers, progress) = lister.receive(ClientBytes.flags() + choice)
            #expect(answers.map(\.type) == [0x8000_0005] && progress == .needsMore)
        }
        var lister = Lister()
        let (_, named) = lister.receive(ClientBytes.flags() + ClientBytes.option(1, Array("export 7".utf8)))
        #expect(named == .close)
        lister = Lister()
        let (answers, _) = lister.receive(
            ClientBytes.flags() + ClientBytes.option(8) + ClientBytes.meta(10, "export 7", ["base:allocation"]))
        #expect(answers.map(\.type) == [1, 0x8000_0005])
        lister = Lister()
        let (_, encrypted) = lister.receive(ClientBytes.flags() + ClientBytes.option(5))
        #expect(encrypted == .startTLS)
        let (secure, _) = lister.receive(ClientBytes.option(3))
        #expect(secure.count == 5000 + 1)
        guard case .transmission = lister.receive(ClientBytes.go("export 7")).1 else {
            Issue.record("an encrypted client may not have the export")
            return
        }
    }
}
