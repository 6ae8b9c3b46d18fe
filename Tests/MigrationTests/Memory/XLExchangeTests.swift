import TestSupport
import Testing

@testable import Migration

/// The talk of `xl migrate` and `xl migrate-receive`, whose parts the test plays, over two nodes (tools/xl/xl_migrate.c).
@Suite("The exchange of two xl") struct XLExchangeTests {
    private static let banner = Array("xl migration receiver ready, send binary domain data.\n".utf8)
    private static let ready = Array("domain received, ready to unpause".utf8) + [0]
    private static let permission = Array("domain is yours, you are cleared to unpause".utf8) + [0]
    private static let report = Array("my copy unpause results are as follows".utf8) + [0]

    private let nodes: RelayingNodes
    private let stream: [UInt8]
    private let pages: Int

    init() throws {
        var random = Seeded.fresh()
        nodes = try RelayingNodes()
        (stream, pages) = try nodes.streamOfDisk(&random, as: MadeDomain.stream(of:))
    }

    /// The sender: it waits for the banner, and hangs up once it knows how the domain does there.
    private func send(_ here: Hypervisor, status: UInt8) async throws {
        #expect(try await here.read(Self.banner.count) == Self.banner)
        #expect(try await here.write(stream))
        #expect(try await here.read(Self.ready.count) == Self.ready)
        #expect(try await here.write(Self.permission))
        #expect(try await here.read(Self.report.count) == Self.report)
        #expect(try await here.read(1) == [status])
        if status != 0 { #expect(try await here.read(Self.permission.count) == Self.permission) }
        here.hangUp()
    }

    /// The receiver: it finds the end of the stream in the stream, and ends before the sender does.
    private func receive(_ there: Hypervisor, status: UInt8) async throws {
        #expect(try await there.write(Self.banner))
        let came = try await there.read(stream.count)
        #expect(came == stream)
        #expect(try await there.write(Self.ready))
        #expect(try await there.read(Self.permission.count) == Self.permission)
        #expect(try await there.write(Self.report + [status]))
        if status != 0 { #expect(try await there.write(Self.permission)) }
        there.hangUp()
    }

    @Test("The domain runs there, or goes back -> both sides say everything, and pages are named", arguments: [0, 253])
    func whole(status: UInt8) async throws {
        let memory = try await nodes.relayingDisk { here, there async throws in
            async let received: Void = receive(there, status: status)
            try await send(here, status: status)
            try await received
        }
        #expect(memory.state == .ended)
        #expect(memory.problem == nil)
        #expect(memory.disk == UInt64(pages * 4096))
        #expect(memory.wire < UInt64(stream.count / 10))
    }

    @Test("The receiver dies in the middle -> the sender hears the end, and can't go on writing")
    func receiverDies() async throws {
        let memory = try await nodes.relayingDisk { here, there async throws in
            #expect(try await there.write(Self.banner))
            #expect(try await here.read(Self.banner.count) == Self.banner)
            #expect(try await here.write(Array(stream[..<5000])))
            #expect(try await there.read(5000) == Array(stream[..<5000]))
            there.hangUp()
            while try await here.write(stream) {}
            #expect(try await here.read().isEmpty)
        }
        #expect(memory.state == .failed)
    }
}
