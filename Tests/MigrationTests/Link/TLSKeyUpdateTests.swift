import TestSupport
import Testing

@testable import Peer
@testable import TLS

@Suite("Keys of a long connection")
struct TLSKeyUpdateTests {
    @Test("More bytes than a key may encrypt -> the key is replaced, and the other side reads on")
    func replaced() async throws {
        let made = try await Certificates()
        let files = TLSFiles(directory: try await made.directory())
        let client = try TLSChannel(
            context: TLSContext(mutual: files, side: .client), connectingTo: .host("localhost"), inputSize: 68 << 10,
            outputSize: 68 << 10)
        let server = try TLSChannel(context: TLSContext(mutual: files, side: .server))
        client.keyLifetime = 100_000
        let sent = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
        var received: [UInt8] = []
        var written = 0
        while received.count < sent.count {
            written += write(sent[written...], to: client)
            carry(from: client, to: server)
            received += try read(server)
            carry(from: server, to: client)
            _ = try read(client)
        }
        #expect(received == sent)
        #expect((8...10).contains(client.keyUpdates), "\(client.keyUpdates)")
        #expect(server.keyUpdates == 0)
    }

    private func write(_ bytes: ArraySlice<UInt8>, to channel: TLSChannel) -> Int {
        guard channel.isEstablished, !bytes.isEmpty else { return 0 }
        let outcome = bytes.withUnsafeBytes { channel.write(from: $0.baseAddress!, count: $0.count) }
        if case .done(let count) = outcome { return count }
        return 0
    }

    private func read(_ channel: TLSChannel) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            switch part.withUnsafeMutableBytes({ channel.read(into: $0.baseAddress!, count: $0.count) }) {
            case .done(let count): bytes += part[..<count]
            case .needsInput, .needsRoom: return bytes
            case .closed, .failed: throw channel.failure ?? TLSFailure.truncated
            }
        }
    }

    private func carry(from: TLSChannel, to: TLSChannel) {
        while true {
            let (output, room) = (from.output, to.roomForInput())
            let count = min(output.count, room.count)
            guard count > 0 else { return }
            room.copyMemory(from: UnsafeRawBufferPointer(rebasing: output[..<count]))
            from.didSend(count)
            to.didReceive(count)
        }
    }
}
