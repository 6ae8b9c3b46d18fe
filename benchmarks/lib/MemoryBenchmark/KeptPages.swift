import MigrationCore

/// The pages of a stream that came as bytes and can be referred to.
struct KeptPages {
    private let capacity: Int
    private var bytes: [UInt8]
    private var count = 0

    init(capacity: Int) {
        self.capacity = capacity
        bytes = [UInt8](repeating: 0, count: capacity * StreamPart.pageBytes)
    }

    mutating func add(_ batch: MemoryUnpacker.Unpacked) {
        bytes.withUnsafeMutableBytes { kept in
            batch.bytes.withUnsafeBytes { batchBytes in
                for page in batch.literalPages {
                    let place = count % capacity * StreamPart.pageBytes
                    UnsafeMutableRawBufferPointer(rebasing: kept[place..<place + StreamPart.pageBytes]).copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: batchBytes[page..<page + StreamPart.pageBytes]))
                    count += 1
                }
            }
        }
    }

    /// Copies pages from a disk, or from those that are kept.
    func copy(_ read: MemoryUnpacker.Read, _ disk: [UInt8], into batch: inout [UInt8]) {
        for page in 0..<read.count {
            let (source, place) =
                switch read.place {
                case .disk(_, let block): (disk, Int(block) + page)
                case .sent(let number): (bytes, Int((number + UInt64(page)) % UInt64(capacity)))
                }
            batch.withUnsafeMutableBytes { batch in
                source.withUnsafeBytes { source in
                    (batch.baseAddress! + read.offset + page * read.stride).copyMemory(
                        from: source.baseAddress! + place * StreamPart.pageBytes, byteCount: StreamPart.pageBytes)
                }
            }
        }
    }
}
