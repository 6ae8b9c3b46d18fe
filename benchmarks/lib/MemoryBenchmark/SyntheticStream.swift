import Hashing
import MigrationCore

/// A memory stream that consists of pages with headers, in runs of up to 32.
struct SyntheticStream {
    let pages: Int
    private(set) var bytes: [UInt8] = []
    /// The bytes of the guest's disk.
    private(set) var disk: [UInt8] = []
    /// The blocks of the disk by their content.
    private(set) var index: [Fingerprint: UInt64] = [:]
    private var random = SystemRandomNumberGenerator()

    private static let diskPages = 1 << 14

    /// - Parameters:
    ///   - zeros: percent of the pages; so are `disk` and `sent`. The others are random bytes.
    ///   - history: literal pages after which one is forgotten.
    init(pages: Int, zeros: Int, disk: Int, sent: Int, history: Int) {
        self.pages = pages
        fillDisk()
        var literals: [Int] = []
        var page = 0
        while page < pages {
            let count = min(Int.random(in: 1...32, using: &random), pages - page)
            let share = Int.random(in: 0..<100, using: &random)
            let block = Int.random(in: 0...Self.diskPages - count, using: &random)
            for offset in 0..<count {
                let isZero = share < zeros
                append(address: page + offset, isZero ? HeaderParser.zeroFlags : HeaderParser.pageFlags)
                if isZero {
                    bytes.append(0)
                } else if share < zeros + disk {
                    let place = (block + offset) * StreamPart.pageBytes
                    bytes += self.disk[place..<place + StreamPart.pageBytes]
                } else if share < zeros + disk + sent, let old = literals.suffix(history / 2).randomElement() {
                    bytes += bytes[old..<old + StreamPart.pageBytes]
                } else {
                    literals.append(bytes.count)
                    bytes += randomPage()
                }
            }
            page += count
        }
    }

    private mutating func fillDisk() {
        let hasher = BlockHasher()
        for block in 0..<UInt64(Self.diskPages) {
            let page = randomPage()
            index[page.withUnsafeBytes { hasher.fingerprint($0) }] = block
            disk += page
        }
    }

    private mutating func append(address: Int, _ flags: UInt64) {
        let header = UInt64(address * StreamPart.pageBytes) | flags
        withUnsafeBytes(of: header.bigEndian) { bytes.append(contentsOf: $0) }
    }

    private mutating func randomPage() -> [UInt8] {
        var words = [UInt64](repeating: 0, count: StreamPart.pageBytes / 8)
        for place in words.indices { words[place] = random.next() }
        return words.withUnsafeBytes { Array($0) }
    }
}
