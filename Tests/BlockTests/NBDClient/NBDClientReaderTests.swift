import Glibc
import Ring
import TestSupport
import Testing

@testable import Block
@testable import NBD

/// Bytes of servers, cut and changed anywhere.
@Suite("Readers of other NBD servers' answers", .timeLimit(.minutes(5))) struct NBDClientReaderTests {
    private static let length = 300
    private static let margin = 64

    private func be<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    private func chunk(_ kind: UInt16, _ cookie: UInt64, _ payload: [UInt8], count: UInt32? = nil) -> [UInt8] {
        be(UInt32(0x668e_33ef)) + be(UInt16(0)) + be(kind) + be(cookie) + be(count ?? UInt32(payload.count)) + payload
    }

    private func end(_ cookie: UInt64) -> [UInt8] {
        be(UInt32(0x668e_33ef)) + be(UInt16(1)) + be(UInt16(0)) + be(cookie) + be(UInt32(0))
    }

    @Test("Small chunks of large reads -> received many at once; a large payload alone -> its header first")
    func receiveCounts() throws {
        let loose = try LooseCommands()
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 128 << 10, alignment: 16)
        defer { memory.deallocate() }
        let command = loose.make(.read, memory)
        let reader = NBDClientReader(loose.commands)
        #expect(reader.receiveCount(hasOnlyLargeReads: true) == 28)
        #expect(reader.receiveCount(hasOnlyLargeReads: false) == ReceiveBuffers.length)
        let header = chunk(1, command.pointee.cookie, be(UInt64(0)), count: 8 + 4096)
        #expect(header.withUnsafeBytes { reader.consume($0, sending: nil) { _ in } })
        #expect(reader.receiveCount(hasOnlyLargeReads: true) == ReceiveBuffers.length)
    }

    @Test("An answer to a command that is not wholly sent -> only for the one that the ring sends")
    func earlyAnswers() throws {
        for isSending in [true, false] {
            let loose = try LooseCommands()
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 512, alignment: 16)
            defer { memory.deallocate() }
            let command = loose.make(.write, memory, isSent: false)
            let reader = NBDClientReader(loose.commands)
            var ended = 0
            let isAccepted = end(command.pointee.cookie).withUnsafeBytes {
                reader.consume($0, sending: isSending ? command : nil) { _ in ended += 1 }
            }
            #expect(isAccepted == isSending && ended == (isSending ? 1 : 0))
        }
    }

    @Test("Answers cut anywhere -> the same bytes; changed anywhere -> nothing beside the buffers")
    func cutsAndChanges() throws {
        var random = Seeded.fresh()
        for round in 0..<3000 {
            try play(isChanged: round % 2 == 1, &random)
        }
    }

    private func play(isChanged: Bool, _ random: inout Seeded) throws {
        let loose = try shared.get()
        let rooms = (0..<3).map { _ in room() }
        defer { for room in rooms { room.deallocate() } }
        let buffers = rooms.map { UnsafeMutableRawBufferPointer(rebasing: $0[Self.margin..<Self.margin + Self.length]) }
        let reads = [loose.make(.read, offset: 1000, buffers[0]), loose.make(.read, buffers[1])]
        let status = loose.make(.blockStatus, buffers[2])
        status.pointee.request.pointee.extentLimit = 4
        var stream = answers(to: reads, status)
        if isChanged {
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                stream[Int.random(in: 0..<stream.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
        }
        let reader = NBDClientReader(loose.commands)
        var ended: [CInt] = []
        var rest = stream[...]
        var isWell = true
        while isWell, !rest.isEmpty {
            let piece = Array(rest.prefix(Int.random(in: 1...80, using: &random)))
            rest = rest.dropFirst(piece.count)
            isWell = piece.withUnsafeBytes { bytes in
                reader.consume(bytes, sending: nil) { command in
                    command.pointee.state = .idle
                    ended.append(command.pointee.error)
                }
            }
        }
        for room in rooms {
            #expect(room.prefix(Self.margin).allSatisfy { $0 == 0xee })
            #expect(room.suffix(Self.margin).allSatisfy { $0 == 0xee })
        }
        if !isChanged {
            #expect(isWell && ended == [0, 0, 0])
            #expect(buffers[..<2].allSatisfy { Array($0) == Self.pattern })
            #expect(status.pointee.request.pointee.extentCount == 2)
        }
        for command in reads + [status] {
            command.pointee.state = .idle
            loose.commands.give(command)
        }
    }

    private let shared = Result { try LooseCommands() }
    private static let pattern = (0..<length).map { UInt8(($0 + 1) % 251) }

    private func room() -> UnsafeMutableRawBufferPointer {
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.length + 2 * Self.margin, alignment: 16)
        room.initializeMemory(as: UInt8.self, repeating: 0xee)
        return room
    }

    /// The first read in three chunks out of order, the second whole, and a status of two extents; mixed.
    private func answers(
        to reads: [UnsafeMutablePointer<NBDClientCommand>], _ status: UnsafeMutablePointer<NBDClientCommand>
    ) -> [UInt8] {
        let (first, second, third) = (reads[0].pointee.cookie, reads[1].pointee.cookie, status.pointee.cookie)
        func data(_ cookie: UInt64, _ base: Int, _ range: Range<Int>) -> [UInt8] {
            chunk(1, cookie, be(UInt64(base + range.lowerBound)) + Self.pattern[range])
        }
        let extents = be(UInt32(77)) + be(UInt32(100)) + be(UInt32(3)) + be(UInt32(1 << 20)) + be(UInt32(0))
        let foreign = be(UInt32(99)) + be(UInt32(300)) + be(UInt32(3))
        return data(first, 1000, 200..<300) + chunk(5, third, foreign) + data(second, 0, 0..<300)
            + data(first, 1000, 0..<120) + chunk(5, third, extents) + end(second) + data(first, 1000, 120..<200)
            + end(third) + end(first)
    }
}
