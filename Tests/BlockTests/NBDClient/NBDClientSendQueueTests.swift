import Glibc
import TestSupport
import Testing

@testable import Block

/// Commands that are not wholly sent.
@Suite("Queues of commands for other NBD servers", .timeLimit(.minutes(1))) struct NBDClientSendQueueTests {
    private let loose: LooseCommands
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 100_000, alignment: 16)

    init() throws { loose = try LooseCommands() }

    @Test("A queue that is never empty -> the places of sent commands are used again")
    func steadyLoad() {
        defer { memory.deallocate() }
        var queue = NBDClientSendQueue()
        let command = loose.make(.flush, .init(start: nil, count: 0))
        var sent = 0
        queue.append(command)
        for _ in 0..<10_000 {
            queue.append(command)
            // The socket took one command, and a part of the next.
            queue.didSend(20) { _ in sent += 1 }
            queue.didSend(8) { _ in sent += 1 }
            #expect(!queue.isEmpty && queue.commands.count < 200)
        }
        #expect(sent == 10_000 && queue.firstPart.count == 28)
    }

    @Test("A limit within a payload -> so many bytes, and then the rest in order")
    func limit() throws {
        defer { memory.deallocate() }
        for index in memory.indices { memory[index] = UInt8(index % 251) }
        var pair: [CInt] = [-1, -1]
        #expect(socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &pair) == 0)
        defer { for end in pair { close(end) } }
        var queue = NBDClientSendQueue()
        let commands = [loose.make(.write, memory), loose.make(.flush, .init(start: nil, count: 0))]
        for command in commands { queue.append(command) }
        var expected: [UInt8] = []
        for command in commands {
            expected += withUnsafeBytes(of: &command.pointee.header) { Array($0.prefix(28)) }
            if command.pointee.payloadLength > 0 { expected += memory }
        }
        var received: [UInt8] = []
        for limit in [10, 18, 50_000, 49_999, 1, 13, 100] {
            let count = queue.send(pair[0], limit: limit)
            try #require(count == min(limit, expected.count - received.count))
            queue.didSend(count) { _ in }
            received += try read(pair[1], count)
        }
        #expect(received == expected && queue.isEmpty)
    }

    private func read(_ socket: CInt, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        #expect(recv(socket, &bytes, count, CInt(MSG_WAITALL)) == count)
        return bytes
    }
}
