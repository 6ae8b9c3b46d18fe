// Feeds the link between nodes with libFuzzer's inputs.
//
// The first byte says how the rest, a peer's stream, is cut. What must hold: it never crashes; however the bytes are
// cut, the same frames come of it; none is longer than allowed, nor is more kept than one frame; a message that is
// understood means the same when it is encoded again; and whatever a destination is told in whatever order, it does only
// what lies within the disk, and never becomes active without having been prepared.

import NIOCore

@testable import Block
@testable import BlockModel
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol
@testable import Peer

private let limit = 4096

/// The frames of a stream that arrives in pieces, and whether it broke off with an error.
private func frames(_ bytes: ArraySlice<UInt8>, step: Int) -> (frames: [ByteBuffer], isBroken: Bool) {
    let processor = NIOSingleStepByteToMessageProcessor(FrameCodec(limit: FrameLimit(limit)))
    var frames: [ByteBuffer] = []
    for position in stride(from: bytes.startIndex, to: bytes.endIndex, by: step) {
        let piece = ByteBuffer(bytes: bytes[position..<min(position + step, bytes.endIndex)])
        do {
            try processor.process(buffer: piece) { frames.append($0) }
        } catch {
            return (frames, true)
        }
        precondition(processor.unprocessedBytes < 4 + limit, "more is kept than one frame")
    }
    return (frames, false)
}

/// Does what a driver would do for a destination, without a disk.
private struct Driver {
    private var machine = DestinationMachine()
    private var geometry: BlockGeometry?
    private var isPrepared = false
    private(set) var isOver = false

    mutating func hear(_ message: Message) {
        guard !isOver else { return }
        guard let action = try? machine.receive(message) else {
            isOver = true
            return
        }
        switch action {
        case .open(let offer, let geometry):
            precondition(ExportName.problem(with: offer.export) == nil, "a name that leads elsewhere")
            self.geometry = geometry
        case .resolve(let segment): check(segment.first, UInt64(segment.entries.count))
        case .compare(let summary): check(summary.first, UInt64(summary.count))
        case .answer(let question):
            precondition(question.prefixes.count * geometry!.blockSize <= PrefixQuestion.maximumBytes, "a long prefix")
        case .clear(let blocks): check(blocks.lowerBound, UInt64(blocks.count))
        case .store(let segment, let bytes):
            for run in segment.runs { check(run.first, run.count) }
            precondition(bytes <= DataSegment.maximumBytes, "a segment of \(bytes) bytes")
            precondition(bytes > 0 || segment.compressed.readableBytes > 0, "a segment of nothing")
        case .forget(let runs):
            for run in runs { check(run.lowerBound, UInt64(run.count)) }
        case .note(let part):
            for run in part.runs {
                guard let geometry else { preconditionFailure("a dirty bitmap before an offer") }
                let end = (geometry.diskSize + UInt64(BitmapPart.blockSize) - 1) / UInt64(BitmapPart.blockSize)
                precondition(run.first < end && run.count <= end - run.first, "blocks beyond the end")
            }
        case .finishManifest, .finishRound, .expect: break
        case .prepare, .prepareRest:
            isPrepared = true
            machine.prepared()
        case .activate:
            precondition(isPrepared, "active and not prepared")
            machine.activated()
        case .abandon: isOver = true
        }
    }

    private func check(_ first: UInt64, _ count: UInt64) {
        guard let geometry else { preconditionFailure("blocks before an offer") }
        precondition(first < geometry.blockCount && count <= geometry.blockCount - first, "blocks beyond the end")
    }
}

/// libFuzzer's entry.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzPeer(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count >= 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    let whole = frames(bytes[1...], step: count)
    let cut = frames(bytes[1...], step: Int(bytes[0]) + 1)
    precondition(whole.frames == cut.frames && whole.isBroken == cut.isBroken, "the cut makes a difference")
    var driver = Driver()
    for frame in whole.frames {
        precondition((1...limit).contains(frame.readableBytes), "a frame of \(frame.readableBytes) bytes")
        guard let message = try? Message(frame: frame) else { continue }
        let again = try? Message(frame: message.encoded())
        precondition(again == message, "a message that means something else when it is encoded again")
        // The machine's conversation begins behind the hello.
        if case .hello = message { continue }
        driver.hear(message)
    }
    return 0
}
