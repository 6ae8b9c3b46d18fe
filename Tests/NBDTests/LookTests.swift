import Testing

@testable import NBD

/// Handshakes whose exports must be examined before a client is told about them.
@Suite struct LookTests {
    /// A catalog whose disk is longer after the examination.
    private struct Changing: ExportCatalog {
        var size: UInt64 = 100

        func export(named name: String) -> ExportDescription? {
            name == "disk" ? ExportDescription(name: name, size: size, isReadOnly: false) : nil
        }

        func needsLook(at name: String) -> Bool { name == "disk" }
        func exports() -> [ExportDescription]? { [export(named: "disk")!] }
    }

    @Test(
        "INFO, GO and EXPORT_NAME wait for an examination each time, and reply the size found by it",
        arguments: [
            ClientBytes.go("disk", type: 6), ClientBytes.go("disk"), ClientBytes.option(1, Array("disk".utf8)),
        ])
    func waits(option: [UInt8]) {
        var handshake = Handshake(tls: .off)
        var output: [UInt8] = []
        var catalog = Changing()
        var input = (ClientBytes.flags() + option)[...]
        for size in [UInt64(200), 300] {
            for _ in 0..<2 {
                let progress = handshake.receive(&input, output: &output, catalog: catalog)
                #expect(progress == .needsLook(at: "disk") && output.isEmpty && input == option[...])
            }
            catalog.size = size
            handshake.looked(refusal: nil)
            let end = handshake.receive(&input, output: &output, catalog: catalog)
            #expect(input.isEmpty && Array(output.dropFirst(output.count == 10 ? 0 : 22).prefix(8)) == be(size))
            guard end == .needsMore else { return }
            (input, output) = (option[...], [])
        }
    }

    @Test("A client refused after the examination gets the reason and may choose another export")
    func refused() {
        var handshake = Handshake(tls: .off)
        var output: [UInt8] = []
        var input = (ClientBytes.flags() + ClientBytes.go("disk") + ClientBytes.go("none"))[...]
        #expect(handshake.receive(&input, output: &output, catalog: Changing()) == .needsLook(at: "disk"))
        handshake.looked(refusal: "not now")
        #expect(handshake.receive(&input, output: &output, catalog: Changing()) == .needsMore)
        let unknown: UInt32 = 0x8000_0006
        #expect(
            Answer.all(in: output) == [
                Answer(option: 7, type: unknown, payload: Array("not now".utf8)),
                Answer(option: 7, type: unknown, payload: Array("no such export".utf8)),
            ])
        var old = Handshake(tls: .off)
        input = (ClientBytes.flags() + ClientBytes.option(1, Array("disk".utf8)))[...]
        output = []
        #expect(old.receive(&input, output: &output, catalog: Changing()) == .needsLook(at: "disk"))
        old.looked(refusal: "not now")
        #expect(old.receive(&input, output: &output, catalog: Changing()) == .close && output.isEmpty)
    }

    @Test("Lists, and clients that must encrypt first, cause no examination")
    func notNeeded() {
        var handshake = Handshake(tls: .required)
        var output: [UInt8] = []
        var input = (ClientBytes.flags() + ClientBytes.go("disk"))[...]
        #expect(handshake.receive(&input, output: &output, catalog: Changing()) == .needsMore)
        var open = Handshake(tls: .off)
        input = (ClientBytes.flags() + ClientBytes.option(3))[...]
        #expect(open.receive(&input, output: &output, catalog: Changing()) == .needsMore)
    }
}
