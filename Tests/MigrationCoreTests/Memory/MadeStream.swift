import TestSupport

@testable import MigrationCore

/// A memory stream of a test, and what its parser says of it.
struct MadeStream {
    typealias Page = [UInt8]

    static let emptyPage = Page(repeating: 0, count: StreamPart.pageBytes)

    private(set) var bytes: [UInt8] = []
    private(set) var parts: [StreamPart] = []
    /// The address behind the last page.
    private var address: UInt64 = 0

    mutating func add(_ kind: StreamPart.Kind, _ part: [UInt8]) {
        bytes += part
        parts.append(StreamPart(kind, part.count))
    }

    mutating func add(page: Page, flags: UInt64 = 0x28) {
        add(.page, header(flags) + page)
    }

    mutating func addZeroPage(flags: UInt64 = 0x22) {
        add(.zeroPage, header(flags) + [0])
    }

    /// Skips pages, or goes back.
    mutating func jump(to address: UInt64) { self.address = address }

    private mutating func header(_ flags: UInt64) -> [UInt8] {
        defer { address &+= UInt64(StreamPart.pageBytes) }
        return Self.bytes(of: address & ~UInt64(StreamPart.pageBytes - 1) | flags)
    }

    static func bytes(of number: UInt64) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }

    /// A stream of everything that there may be, and of parts that are not what they are said to be.
    /// - Parameter disks: the guest's, of which some pages are blocks.
    static func random(disks: [[Page]], parts: Int, _ random: inout Seeded) -> MadeStream {
        var stream = MadeStream()
        var known: [Page] = []
        for _ in 0..<parts {
            if random.chance(20) { stream.jump(to: random.chance(50) ? random.next() : random.next() >> 30) }
            let flags: UInt64 = random.chance(80) ? 0x28 : .random(in: 0..<4096, using: &random)
            let count = Int.random(in: 1...6, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0: stream.add(.bytes, random.bytes(.random(in: 1...300, using: &random)))
            case 1: stream.addLie(&random)
            case 2: for _ in 0..<count { stream.addZeroPage(flags: flags) }
            case 3, 4, 5:
                let disk = disks.randomElement(using: &random)!
                let first = Int.random(in: 0..<disk.count, using: &random)
                for page in disk[first...].prefix(count) { stream.add(page, flags, &random) }
            case 6 where !known.isEmpty:
                for page in known.suffix(30).shuffled(using: &random).prefix(count) { stream.add(page, flags, &random) }
            case 7: for _ in 0..<count { stream.add(.barePage, emptyPage) }
            case 8: stream.add(emptyPage, flags, &random)
            default:
                for _ in 0..<count {
                    known.append(random.bytes(StreamPart.pageBytes))
                    stream.add(known.last!, flags, &random)
                }
            }
        }
        return stream
    }

    private mutating func add(_ page: Page, _ flags: UInt64, _ random: inout Seeded) {
        if random.chance(70) { add(page: page, flags: flags) } else { add(.barePage, page) }
    }

    private mutating func addLie(_ random: inout Seeded) {
        let kind = StreamPart.Kind(rawValue: .random(in: 0..<4, using: &random))!
        let count = random.chance(50) ? StreamPart.count(of: kind) : Int.random(in: 1...5000, using: &random)
        add(kind, random.bytes(count))
    }
}
