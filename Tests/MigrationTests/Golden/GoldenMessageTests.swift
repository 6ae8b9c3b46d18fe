import NIOCore
import Testing

@testable import Migration
@testable import MigrationProtocol

/// The bytes of the peer protocol, which nodes of every release must go on to understand; `docs/protocol.md`.
@Suite("Golden: peer messages")
struct GoldenMessageTests {
    @Test("A message has the bytes that it always had", arguments: GoldenMessages.sent)
    func encoded(_ golden: GoldenMessage) {
        #expect(GoldenValues.hex(golden.message.encoded()) == golden.digits)
    }

    @Test("The bytes mean what they always meant", arguments: GoldenMessages.sent + GoldenMessages.taken)
    func decoded(_ golden: GoldenMessage) throws {
        #expect(try Message(frame: golden.bytes) == golden.message)
    }

    @Test("A frame that was never a message is none", arguments: GoldenMalformed.all)
    func malformed(_ golden: GoldenMalformed) {
        let error = #expect(throws: MigrationError.self) { try Message(frame: GoldenValues.bytes(golden.hex)) }
        guard case .unexpected? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    /// Whether some frame that begins so is a message, or could be one if it went on otherwise.
    private func isKnown(_ type: UInt8) -> Bool {
        do {
            _ = try Message(frame: ByteBuffer(bytes: [type]))
            return true
        } catch {
            return !"\(error)".contains("unknown type")
        }
    }

    @Test("Every type that is decoded has its bytes written down here")
    func complete() {
        let golden = Set(GoldenMessages.sent.map { $0.bytes.getInteger(at: 0, as: UInt8.self)! })
        #expect(golden == Set((0...UInt8.max).filter(isKnown)))
    }

    /// Whether some frame of zeros, or of one block, that begins so is a message.
    private func isKnownPostcopy(_ type: UInt8) -> Bool {
        let fields = (0...64).map { [UInt8](repeating: 0, count: $0) }
        let oneBlock: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
        return (fields + [oneBlock]).contains { (try? Message(frame: ByteBuffer(bytes: [0x40, type] + $0))) != nil }
    }

    @Test("Every second type of post-copy that is decoded has its bytes written down here")
    func completePostcopy() {
        let golden = Set(GoldenMessages.postcopy.map { $0.bytes.getInteger(at: 1, as: UInt8.self)! })
        #expect(golden == Set((0...UInt8.max).filter(isKnownPostcopy)))
    }

    /// Whether some frame of zeros, or with a batch of one token, that begins so is a message.
    private func isKnownMemory(_ type: UInt8) -> Bool {
        let fields =
            (0...64).map { [UInt8](repeating: 0, count: $0) } + [[0, 0, 0, 1] + [UInt8](repeating: 0, count: 20)]
        return fields.contains { (try? Message(frame: ByteBuffer(bytes: [0x50, type] + $0))) != nil }
    }

    @Test("Every second type of memory that is decoded has its bytes written down here")
    func completeMemory() {
        let golden = Set(
            GoldenMessages.memory.filter { $0.digits.hasPrefix("50") }.map {
                $0.bytes.getInteger(at: 1, as: UInt8.self)!
            })
        #expect(golden == Set((0...UInt8.max).filter(isKnownMemory)))
    }

    @Test(
        "A capability keeps its bit",
        arguments: [
            (.postcopy, 0), (.summaries, 1), (.mostRead, 2), (.latePieces, 3), (.unsaidMissing, 4), (.describesRuns, 5),
            (.hearsOfRest, 6), (.successors, 7), (.offerDetails, 8), (.memory, 9), (.freeBlocks, 10),
            (.probe, 11), (.grids, 12), (.bitmaps, 13), (.prefix, 14), (.neighbours, 15),
            (.arrivals, 16),
        ] as [(ProtocolSupport.Capabilities, Int)])
    func capabilities(_ capability: ProtocolSupport.Capabilities, _ bit: Int) {
        #expect(capability.rawValue == 1 << bit)
        #expect(ProtocolSupport.own.capabilities.contains(capability))
    }

    @Test("This release speaks the version of the last one")
    func version() {
        #expect(ProtocolSupport.own.versions.contains(3))
    }

    @Test("What one message may hold, which peers of the last release rely on")
    func limits() {
        #expect(DataSegment.maximumBytes == 524_288 && DataSegment.mostAwaited == 1024)
        #expect(ManifestSegment.maximumBlocks == 4096 && ManifestSummary.groupBlocks == 32)
        #expect(PostcopyMessage.maximumRuns == 32768 && PostcopyMessage.maximumRanked == 1024)
        #expect(ExportName.maximumLength == 200 && OfferLimits.maximumAliases == 256)
        #expect(MemoryBatch.maximumBytes == 1_048_576 && MemoryBatch.maximumPacked == 1_114_112)
        #expect(MemoryOffer.maximumDisks == 32 && MemoryMessage.maximumBack == 65_536)
        #expect(ZstdParameters.windowLog == 27)
    }
}
