import Testing

@testable import NBD

/// A client understands replies, or refuses them. The bytes are written by hand from the protocol text.
@Suite(.timeLimit(.minutes(10))) struct AnswerTests {
    private let cookie: UInt64 = 0x0102_0304_0506_0708

    private func simple(_ error: UInt32 = 0) -> [UInt8] { [0x67, 0x44, 0x66, 0x98] + be(error) + be(cookie) }

    private func chunk(_ type: UInt16, _ payload: [UInt8], count: UInt32? = nil, isLast: Bool = true) -> [UInt8] {
        [0x66, 0x8e, 0x33, 0xef] + be(UInt16(isLast ? 1 : 0)) + be(type) + be(cookie)
            + be(count ?? UInt32(payload.count)) + payload
    }

    private func parse(_ bytes: [UInt8]) -> ReplyChunk.Parsed { bytes.withUnsafeBytes { ReplyChunk.parse($0) } }

    private func parsed(_ bytes: [UInt8]) throws -> ReplyChunk {
        guard case .chunk(let chunk) = parse(bytes) else { throw Unparsed() }
        #expect(chunk.cookie == cookie && chunk.headerLength <= ReplyChunk.longestHeader)
        // Fewer bytes than the header are never enough, and never wrong.
        for count in 0..<chunk.headerLength { #expect(parse(Array(bytes[..<count])) == .needsMore) }
        return chunk
    }

    private struct Unparsed: Error {}

    private func data(_ offset: UInt64, _ count: UInt32, isLast: Bool = false) throws -> ReplyChunk {
        try parsed(chunk(1, be(offset), count: 8 + count, isLast: isLast))
    }

    private func hole(_ offset: UInt64, _ count: UInt32, isLast: Bool = false) throws -> ReplyChunk {
        try parsed(chunk(2, be(offset) + be(count), isLast: isLast))
    }

    private func read(_ length: UInt64 = 4096, isStructured: Bool = true) -> CommandAnswer {
        CommandAnswer(.read, offset: 8192, length: length, isStructured: isStructured)
    }

    @Test func headers() throws {
        let error = try parsed(chunk(0x8001, be(UInt32(28)) + be(UInt16(2)) + [65, 66]))
        #expect(error.kind == .error && error.error == 28 && error.payloadLength == 2 && error.headerLength == 26)
        let status = try parsed(chunk(5, be(UInt32(1)) + be(UInt32(4096)) + be(UInt32(3)), isLast: false))
        #expect(status.kind == .status && status.payloadLength == 8 && !status.isLast && status.context == 1)
        #expect(try parsed(simple(5)).error == 5)
        #expect(try parsed(chunk(0, [])).kind == .end)
    }

    @Test("Bytes that are no reply -> malformed")
    func malformed() {
        let bad: [[UInt8]] = [
            [UInt8](repeating: 0, count: 32), chunk(0, [], isLast: false), chunk(0, [1]), chunk(1, be(UInt64(0))),
            chunk(2, be(UInt64(0))), chunk(5, be(UInt32(1))), chunk(5, be(UInt32(1)) + [0, 0, 0, 0]), chunk(7, [1]),
            chunk(0x8001, [0, 0]), chunk(0x8001, be(UInt32(5)), count: 1 << 20),
        ]
        for bytes in bad { #expect(parse(bytes) == .malformed, "\(bytes)") }
    }

    @Test("A read in chunks of data and holes, out of order -> whole")
    func chunks() throws {
        var answer = read()
        #expect(answer.accept(try data(8192 + 512, 512)) == .store(position: 512, count: 512))
        #expect(answer.accept(try hole(8192 + 2048, 2048)) == .zero(position: 2048, count: 2048))
        #expect(answer.accept(try data(8192, 512)) == .store(position: 0, count: 512))
        #expect(answer.outcome == 5)
        #expect(answer.accept(try data(8192 + 1024, 1024, isLast: true)) == .store(position: 1024, count: 1024))
        #expect(answer.outcome == 0)
    }

    @Test("A chunk that is outside, empty, repeated or overlaps -> its bytes are skipped, and the read fails")
    func wrongChunks() throws {
        let wrong = try [
            data(8191, 512), data(8192 + 4095, 2), data(.max, 1), data(0, .max - 8), hole(8192, 0), data(8192, 1),
            hole(8192 + 500, 13), data(8192 + 2048, 1), data(8192 + 2047, 4),
        ]
        for chunk in wrong {
            var answer = read()
            _ = answer.accept(try data(8192, 512))
            _ = answer.accept(try data(8192 + 2048, 512))
            #expect(answer.accept(chunk) == .skip(count: chunk.payloadLength), "\(chunk)")
            _ = answer.accept(try hole(8192 + 512, 1536))
            _ = answer.accept(try hole(8192 + 2560, 1536, isLast: true))
            #expect(answer.outcome == 5)
        }
    }

    @Test("An answer in more pieces than anybody sends -> the read fails")
    func scattered() throws {
        var answer = read(1 << 20)
        var skipped = 0
        for index in (0..<1024).reversed() where index % 2 == 1 {
            if case .skip = answer.accept(try hole(8192 + UInt64(index) * 1024, 1024)) { skipped += 1 }
        }
        #expect(skipped > 0 && answer.outcome == 5)
    }

    @Test("An error with or without data before it -> the error")
    func errors() throws {
        var answer = read()
        _ = answer.accept(try hole(8192, 4096))
        let error = try parsed(chunk(0x8002, be(UInt32(28)) + be(UInt16(0)) + be(UInt64(8192))))
        #expect(answer.accept(error) == .skip(count: 8) && answer.outcome == 28)
        // A server that calls 0 an error has failed all the same.
        var other = read()
        #expect(other.accept(try parsed(chunk(0x8001, be(UInt32(0)) + be(UInt16(0))))) == .skip(count: 0))
        #expect(other.outcome != 0)
    }

    @Test("Simple replies -> data only where structured replies are not agreed on")
    func simpleReplies() throws {
        var plain = read(isStructured: false)
        #expect(plain.accept(try parsed(simple())) == .store(position: 0, count: 4096) && plain.outcome == 0)
        var structured = read()
        #expect(structured.accept(try parsed(simple())) == .malformed)
        var failed = read()
        #expect(failed.accept(try parsed(simple(5))) == .skip(count: 0) && failed.outcome == 5)
        var unexpected = read(isStructured: false)
        #expect(unexpected.accept(try data(8192, 4096)) == .malformed)
        // Behind a chunk it could replace an error, and nobody knows what follows it.
        var late = CommandAnswer(.write, offset: 0, length: 512, isStructured: true)
        _ = late.accept(try parsed(chunk(0x8001, be(UInt32(28)) + be(UInt16(0)), isLast: false)))
        #expect(late.accept(try parsed(simple())) == .malformed)
    }

    @Test("A status of another context, or of one that is not known -> of no use, and no error")
    func contexts() throws {
        func status(_ context: UInt32) throws -> ReplyChunk {
            try parsed(chunk(5, be(context) + be(UInt32(4096)) + be(UInt32(3))))
        }
        var answer = CommandAnswer(.blockStatus, offset: 0, length: 4096, isStructured: true, context: 5)
        #expect(answer.accept(try status(99)) == .skip(count: 8) && answer.outcome == 0)
        #expect(answer.accept(try status(5)) == .extents(count: 8) && answer.outcome == 0)
        var unknown = CommandAnswer(.blockStatus, offset: 0, length: 4096, isStructured: true)
        #expect(unknown.accept(try status(0)) == .skip(count: 8) && unknown.outcome == 0)
    }

    @Test("A status -> its extents, once; data for another command -> refused")
    func statuses() throws {
        let status = try parsed(chunk(5, be(UInt32(1)) + be(UInt32(4096)) + be(UInt32(3))))
        var answer = CommandAnswer(.blockStatus, offset: 0, length: 4096, isStructured: true, context: 1)
        #expect(answer.accept(status) == .extents(count: 8) && answer.outcome == 0)
        #expect(answer.accept(status) == .skip(count: 8) && answer.outcome == 5)
        var write = CommandAnswer(.write, offset: 8192, length: 4096, isStructured: true)
        #expect(write.accept(try data(8192, 4096)) == .skip(count: 4096) && write.outcome == 5)
        var zero = CommandAnswer(.writeZeroes, offset: 0, length: 1 << 30, isStructured: true)
        #expect(zero.accept(try parsed(chunk(0, []))) == .skip(count: 0) && zero.outcome == 0)
    }

    @Test func commandHeader() {
        let header = CommandHeader(.write, [.forceUnitAccess], cookie: cookie, offset: 0x1112, length: 0x2122)
        let bytes = withUnsafeBytes(of: header) { Array($0.prefix(CommandHeader.length)) }
        #expect(
            bytes == [0x25, 0x60, 0x95, 0x13] + be(UInt16(1)) + be(UInt16(1)) + be(cookie) + be(UInt64(0x1112))
                + be(UInt32(0x2122)))
        let request = bytes.withUnsafeBytes { Request(header: $0.baseAddress!, style: .structured) }
        #expect(request?.command == .write && request?.length == 0x2122 && request?.flags == .forceUnitAccess)
    }
}
