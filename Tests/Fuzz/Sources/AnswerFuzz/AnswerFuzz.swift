// Feeds a client's parser and judgement of replies with libFuzzer's inputs.
//
// The first byte chooses the command, its range and whether replies are structured; the rest is a server's stream. What must
// hold: it never crashes; nothing is stored outside the command's range, or twice; a read succeeds only when all of it was
// stored; and the parser needs no more than its limit.

@testable import NBD

func check(_ holds: Bool, _ complaint: StaticString) {
    if !holds { fatalError("\(complaint)") }
}

/// libFuzzer calls it with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzAnswer(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count >= 1 else { return 0 }
    let choice = Int(start[0])
    let command: Command = [.read, .read, .write, .blockStatus, .flush, .trim][choice % 6]
    let length: UInt64 = [512, 4096, 65536][choice / 6 % 3]
    let offset: UInt64 = choice & 64 == 0 ? 0 : .max - length
    var answer = CommandAnswer(command, offset: offset, length: length, isStructured: choice & 128 != 0, context: 1)
    var stored = [Bool](repeating: false, count: Int(length))
    func store(_ position: Int, _ count: Int) {
        check(command == .read && position >= 0 && count > 0 && position + count <= stored.count, "outside the range")
        for index in position..<position + count {
            check(!stored[index], "stored twice")
            stored[index] = true
        }
    }
    var rest = UnsafeRawBufferPointer(start: start + 1, count: count - 1)
    while true {
        guard case .chunk(let chunk) = ReplyChunk.parse(rest) else {
            check(
                rest.count < ReplyChunk.longestHeader || ReplyChunk.parse(rest) == .malformed, "the header has no end")
            return 0
        }
        check(chunk.headerLength <= rest.count && chunk.payloadLength >= 0, "a header beyond the bytes")
        let payload: Int
        switch answer.accept(chunk) {
        case .malformed: return 0
        case .store(let position, let count):
            store(position, count)
            payload = count
        case .zero(let position, let count):
            store(position, count)
            payload = 0
        case .extents(let count):
            check(command == .blockStatus && count % ReplyChunk.extentLength == 0, "no extents")
            payload = count
        case .skip(let count): payload = count
        }
        if chunk.isLast {
            if command == .read, answer.outcome == 0 { check(stored.allSatisfy { $0 }, "a read with a gap") }
            return 0
        }
        guard payload <= rest.count - chunk.headerLength else { return 0 }
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(chunk.headerLength + payload))
    }
}
