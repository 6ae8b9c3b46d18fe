import TestSupport
import Testing

@testable import Block
@testable import BlockModel

/// Disks whose blocks begin at random places, against the plain definition: byte by byte.
@Suite struct GridLayoutTests {
    private static func random(_ random: inout Seeded) throws -> BlockGeometry {
        let blockSize = 512 << Int.random(in: 1...4, using: &random)
        let size = UInt64.random(in: 1...200_000, using: &random)
        let places = (0..<Int.random(in: 0...8, using: &random)).map { _ in
            UInt64.random(in: 0...400, using: &random) * 512
        }
        let origins = GridLayout.origins(for: places, diskSize: size, blockSize: blockSize)
        return try #require(BlockGeometry(size: size, blockSize: blockSize, origins: origins))
    }

    @Test func everyByteOfTheDiskIsInOneBlockAndBlocksBeginAtEachPlace() throws {
        var random = Seeded.fresh()
        for _ in 0..<300 {
            let geometry = try Self.random(&random)
            var end: UInt64 = 0
            for block in 0..<geometry.blockCount {
                let bytes = geometry.diskBytes(of: block..<block + 1)
                #expect(bytes.lowerBound == end && !bytes.isEmpty && bytes.count <= geometry.blockSize)
                #expect(geometry.diskStart(of: block) == bytes.lowerBound)
                // A short block ends where the disk does, or where the next section begins.
                let isWhole = bytes.count == geometry.blockSize
                let isLast = bytes.upperBound == geometry.diskSize
                #expect(isWhole || isLast || geometry.origins.contains(bytes.upperBound))
                end = bytes.upperBound
            }
            #expect(end == geometry.diskSize)
            for origin in geometry.origins {
                let block = geometry.blocks(touchingDisk: origin..<origin + 1).lowerBound
                #expect(geometry.diskStart(of: block) == origin)
            }
        }
    }

    @Test func placesThatAreNotOriginsAreOnTheGridAllTheSame() throws {
        var random = Seeded.fresh()
        for _ in 0..<300 {
            let size = UInt64.random(in: 100_000...400_000, using: &random)
            let places = (0..<Int.random(in: 0...8, using: &random)).map { _ in
                UInt64.random(in: 1...190, using: &random) * 512
            }
            let origins = GridLayout.origins(for: places, diskSize: size, blockSize: 4096)
            let geometry = try #require(BlockGeometry(size: size, blockSize: 4096, origins: origins))
            for place in places {
                let block = geometry.blocks(touchingDisk: place..<place + 1).lowerBound
                #expect(geometry.diskStart(of: block) == place)
            }
        }
    }

    @Test func rangesOfTheDiskAndOfTheGridAgree() throws {
        var random = Seeded.fresh()
        for _ in 0..<2000 {
            let geometry = try Self.random(&random)
            let start = UInt64.random(in: 0..<geometry.diskSize, using: &random)
            let range = start..<UInt64.random(in: start + 1...geometry.diskSize, using: &random)
            let touched = geometry.blocks(touchingDisk: range)
            // Exactly the blocks that share a byte with the range.
            for block in touched { #expect(geometry.diskBytes(of: block..<block + 1).overlaps(range)) }
            #expect(geometry.diskBytes(of: touched).clamped(to: range) == range)
            let whole = geometry.blocks(withinDisk: range)
            #expect(whole.isEmpty || geometry.diskBytes(of: whole).clamped(to: range) == geometry.diskBytes(of: whole))
            for block in touched where !whole.contains(block) {
                let bytes = geometry.diskBytes(of: block..<block + 1)
                #expect(bytes.clamped(to: range) != bytes)
            }
            // The runs of the grid are the range, once and in order.
            var place = range.lowerBound
            for run in geometry.gridRuns(ofDisk: range) {
                #expect(run.disk.lowerBound == place)
                let block = run.grid / UInt64(geometry.blockSize)
                let within = run.grid % UInt64(geometry.blockSize)
                #expect(geometry.diskStart(of: block) + within == place)
                place = run.disk.upperBound
            }
            #expect(place == range.upperBound)
        }
    }

    @Test(
        arguments: [
            [512, 512], [1024, 512], [100], [0], [1 << 20], [1 << 20 + 512], (1...129).map { $0 * 512 },
            [0xffff_ffff_ffff_fe00],
        ] as [[UInt64]])
    func otherOriginsThanAscendingSectorsWithinTheDiskAreNone(_ origins: [UInt64]) {
        #expect(BlockGeometry(size: 1 << 20, blockSize: 4096, origins: origins) == nil)
    }

    @Test func originsOnThePlainGridCostNothing() throws {
        let plain = try #require(BlockGeometry(size: 1 << 20, blockSize: 4096))
        #expect(BlockGeometry(size: 1 << 20, blockSize: 4096, origins: [4096, 8192]) == plain)
        #expect(BlockGeometry(size: 1 << 20, blockSize: 512, origins: [512, 63 * 512])?.layout == nil)
        #expect(GridLayout.origins(for: [1 << 20, 65_536], diskSize: 1 << 30, blockSize: 4096) == [])
    }

    @Test func tooManyPlacesLeaveTheFirstOnes() {
        let places = (1...300).map { UInt64($0) * 512 * 9 }
        let origins = GridLayout.origins(for: places.reversed(), diskSize: 1 << 30, blockSize: 4096)
        #expect(origins.count == GridLayout.maximumOrigins && origins.first == 9 * 512)
        #expect(GridLayout.isValid(origins, diskSize: 1 << 30))
    }

    @Test func theEndsOfTheLargestDiskAreInReach() throws {
        let size: UInt64 = 1 << 62
        let geometry = try #require(BlockGeometry(size: size, blockSize: 65_536, origins: [512, size - 512]))
        let last = geometry.blockCount - 1
        #expect(geometry.diskBytes(of: last..<last + 1) == size - 512..<size)
        #expect(geometry.blocks(touchingDisk: size - 1..<size) == last..<last + 1)
        #expect(geometry.blocks(touchingDisk: 0..<size) == 0..<geometry.blockCount)
    }

    @Test func dirtyMapsMarkTheBlocksThatAWriteTouches() throws {
        var random = Seeded.fresh()
        for _ in 0..<500 {
            let geometry = try Self.random(&random)
            let map = DirtyMap(geometry: geometry)
            let start = UInt64.random(in: 0..<geometry.diskSize, using: &random)
            let length = UInt64.random(in: 1...geometry.diskSize, using: &random)
            map.mark(offset: start, length: length)
            let range = start..<min(start + length, geometry.diskSize)
            for block in 0..<geometry.blockCount {
                #expect(map.isDirty(block) == geometry.diskBytes(of: block..<block + 1).overlaps(range))
            }
            // Clients get offsets of the disk, not of its grid.
            let marks = BlockMarks(dirty: map)
            var place: UInt64 = 0
            while place < geometry.diskSize {
                let (isMarked, end) = marks.run(in: place..<geometry.diskSize)
                #expect(end > place)
                let touched = geometry.blocks(touchingDisk: place..<end)
                for block in touched { #expect(map.isDirty(block) == isMarked) }
                place = end
            }
        }
    }
}
