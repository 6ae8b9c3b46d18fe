// Feeds the destination of a guest's memory with libFuzzer's inputs, as a hostile source does.
//
// Three bytes say how many pages are kept, and how long the disks are. Steps follow: a message comes, or the batch in
// hand is delivered, or asked for again. What must hold: it never crashes; no page refers to a block beyond a disk, to a
// disk that can't be read, or to a page that is not kept; pages are read into the batch, and none into another; no batch
// is longer than allowed; and no more messages wait than allowed, in number and in bytes.

import NIOCore

@testable import MigrationCore
@testable import MigrationProtocol

/// Reads an input, with zeros behind its end.
private struct Input {
    private var rest: Slice<UnsafeRawBufferPointer>

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    mutating func bytes(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }
}

/// Does what a driver would do for a destination, without disks and without zstd.
private struct Driver {
    private let history: Int
    private let blocks: [UInt64]
    private let unpacker: MemoryUnpacker
    private var machine = MemoryDestinationMachine()
    /// The batch that is to be delivered or asked for again.
    private var inHand: MemoryUnpacker.Unpacked?
    private var isAskedFor = false
    /// Bytes of the messages that wait.
    private var waiting: [Int] = []
    /// Pages that came as bytes.
    private var kept: UInt64 = 0
    private(set) var isOver = false

    init(history: Int, blocks: [UInt64]) {
        self.history = history
        self.blocks = blocks
        unpacker = MemoryUnpacker(history: history, blocks: blocks)
    }

    /// - Parameter fill: stands for what is missing of a batch's bytes.
    mutating func hear(_ message: Message, fill: UInt8) {
        guard !isOver else { return }
        do {
            let action = try machine.receive(message)
            if action == .wait { wait(message) }
            try perform(action, fill)
        } catch {
            isOver = true
        }
    }

    private mutating func wait(_ message: Message) {
        var bytes = 0
        if case .memory(.batch(let batch)) = message { bytes = batch.compressed.readableBytes }
        waiting.append(bytes)
        precondition(waiting.count <= MemoryWindow.mostBatches, "too many messages wait")
        precondition(waiting.reduce(0, +) <= MemoryDestinationMachine.mostWaiting, "too many bytes wait")
    }

    mutating func deliver(fill: UInt8) {
        guard !isOver, inHand != nil, !isAskedFor else { return }
        inHand = nil
        _ = machine.deliver()
        do {
            while inHand == nil, let action = machine.next() {
                waiting.removeFirst()
                try perform(action, fill)
            }
        } catch {
            isOver = true
        }
    }

    mutating func askAgain() {
        guard !isOver, inHand != nil, !isAskedFor else { return }
        do { _ = try machine.askAgain() } catch { isOver = true }
        isAskedFor = true
    }

    private mutating func perform(_ action: MemoryDestinationMachine.Action, _ fill: UInt8) throws {
        switch action {
        case .unpack(let batch):
            inHand = try unpack(batch, fill)
            isAskedFor = false
        case .repair(let bytes):
            guard var batch = inHand, isAskedFor else { preconditionFailure("a repair of nothing") }
            isAskedFor = false
            let repaired = Array(bytes.readableBytesView.prefix(batch.bytes.count))
            batch.bytes.replaceSubrange(0..<repaired.count, with: repaired)
            _ = unpacker.accept(batch)
        case .end(let byteCount, _):
            _ = byteCount == unpacker.byteCount
            machine.end()
            precondition(machine.isEnded)
        case .open(let offer): precondition(offer.disks.count <= MemoryOffer.maximumDisks)
        case .wait: break
        }
    }

    private mutating func unpack(_ batch: MemoryBatch, _ fill: UInt8) throws -> MemoryUnpacker.Unpacked {
        let count = batch.tokenBytes + batch.literalBytes
        precondition(count <= MemoryBatch.maximumPacked)
        var packed = Array(batch.compressed.readableBytesView.prefix(count))
        packed += [UInt8](repeating: fill, count: count - packed.count)
        var unpacked = try packed.withUnsafeBytes { try unpacker.unpack(batch, $0) }
        precondition((1...MemoryBatch.maximumBytes).contains(unpacked.bytes.count), "a batch of a wrong length")
        check(unpacked)
        for read in unpacked.reads { check(read, &unpacked.bytes) }
        kept += UInt64(unpacked.literalPages.count)
        _ = unpacker.accept(unpacked)
        return unpacked
    }

    private func check(_ batch: MemoryUnpacker.Unpacked) {
        precondition(batch.reads.count <= MemoryBatch.maximumBytes / StreamPart.pageBytes, "too many references")
        for page in batch.literalPages {
            precondition(page >= 0 && page + StreamPart.pageBytes <= batch.bytes.count, "a literal beyond the batch")
        }
    }

    private func check(_ read: MemoryUnpacker.Read, _ bytes: inout [UInt8]) {
        precondition(read.count > 0, "a reference to nothing")
        switch read.place {
        case .disk(let disk, let block):
            precondition(blocks.indices.contains(disk), "a page on no disk")
            precondition(
                block < blocks[disk] && UInt64(read.count) <= blocks[disk] - block, "a page beyond the end of a disk")
        case .sent(let first):
            precondition(first < kept && UInt64(read.count) <= kept - first, "a page that has not been sent")
            precondition(kept - first <= UInt64(history), "a page that is not kept any more")
        }
        for page in 0..<read.count {
            let place = read.offset + page * read.stride
            precondition(place >= 0 && place + StreamPart.pageBytes <= bytes.count, "a page beyond the batch")
            precondition(bytes[place] == 0 && bytes[place + StreamPart.pageBytes - 1] == 0, "a page over another")
            (bytes[place], bytes[place + StreamPart.pageBytes - 1]) = (1, 1)
        }
    }
}

/// A frame, most of whose bytes the input gives. Short inputs become batches of tokens.
private func message(_ input: inout Input, _ step: UInt8) -> Message? {
    guard step & 4 != 0 else {
        let frame = input.bytes(Int(input.byte()) | Int(input.byte()) << 8)
        return try? Message(frame: ByteBuffer(bytes: frame))
    }
    let tokens = input.bytes(Int(input.byte()) + 1)
    let pages = Int(input.byte())
    guard !tokens.isEmpty else { return nil }
    return .memory(
        .batch(
            MemoryBatch(
                tokenBytes: tokens.count, literalBytes: pages * StreamPart.pageBytes + Int(input.byte()), proof: .zero,
                compressed: ByteBuffer(bytes: tokens))))
}

/// libFuzzer's entry.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzBatch(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    var input = Input(UnsafeRawBufferPointer(start: start, count: count))
    let history = Int(input.byte())
    // The first can't be read, and the last is of more than all numbers.
    let blocks = [0, UInt64(input.byte()), UInt64(input.byte()) << 12, UInt64.max / UInt64(StreamPart.pageBytes)]
    var driver = Driver(history: history, blocks: blocks)
    driver.hear(.memory(.offer(MemoryOffer(disks: []))), fill: 0)
    while !input.isAtEnd, !driver.isOver {
        let step = input.byte()
        switch step & 3 {
        case 0, 1:
            guard let message = message(&input, step) else { continue }
            driver.hear(message, fill: step)
        case 2: driver.deliver(fill: step)
        default: driver.askAgain()
        }
    }
    return 0
}
