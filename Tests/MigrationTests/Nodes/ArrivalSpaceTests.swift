import Block
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol

@Suite("Room for disks that arrive")
struct ArrivalSpaceTests {
    private let scratch = Scratch()

    private func offer(_ size: UInt64, data: UInt64?, besides: UInt64 = 0) -> Offer {
        Offer(
            migration: MigrationID(), abandoned: [], export: "disk", size: size, blockSize: 4096,
            details: OfferDetails(dataBytes: data, dataBesides: besides))
    }

    @Test("Numbers that are as high as can be are refused, and do not overflow")
    func highest() throws {
        var space = ArrivalSpace(images: scratch.path, state: scratch.path, index: scratch.file("index/below"))
        let path = scratch.file("disk.raw.incoming")
        for (data, besides) in [(UInt64.max, UInt64.max), (0, .max), (.max, 0)] {
            let offer = offer(1 << 62, data: data, besides: besides)
            let claim = try #require(space.claim(for: offer, imagePath: path))
            #expect(throws: MigrationError.self) { try space.check(claim, of: "disk") }
            space.add(claim, for: offer.migration)
        }
        let small = try #require(space.claim(for: offer(8192, data: 0), imagePath: path))
        #expect(throws: MigrationError.self, "the others need it all") { try space.check(small, of: "disk") }
    }

    @Test("What an image has allocated already is not needed again; a source that does not say is not refused")
    func allocated() throws {
        let space = ArrivalSpace(images: scratch.path, state: scratch.path, index: nil)
        let image = try RawImage.create(path: scratch.file("disk.raw.incoming"), size: 1 << 20)
        try image.writeZeros(at: 0, length: 256 << 10)
        let claim = try #require(space.claim(for: offer(1 << 20, data: 512 << 10), imagePath: image.path))
        #expect(claim.parts[0] == .init(folder: ImagePath.absolute(scratch.path), bytes: 256 << 10))
        #expect(space.claim(for: offer(1 << 20, data: nil), imagePath: image.path) == nil)
    }
}
