/// Lays out the bytes of a batch: literals and headers stand at their places, and referenced pages are still to be read.
struct MemoryLayoutBuilder {
    /// Literals that have not been placed.
    private var literals: UnsafeRawBufferPointer
    /// Bytes that have been laid out.
    private var offset = 0
    private(set) var bytes: [UInt8]
    private(set) var reads: [MemoryUnpacker.Read] = []
    private(set) var literalPages: [Int] = []

    /// - Parameters:
    ///   - byteCount: of the whole batch.
    ///   - literals: in the order of the runs; exactly those that they need.
    init(byteCount: Int, literals: UnsafeRawBufferPointer) {
        self.literals = literals
        bytes = [UInt8](repeating: 0, count: byteCount)
    }

    /// Lays out the next run.
    mutating func add(_ run: MemoryRun) {
        if let header = run.header { addHeaders(run, header) }
        let page = offset + (run.header == nil ? 0 : StreamPart.headerBytes)
        switch run.source {
        case .bytes: copy(run.count, to: offset)
        case .zeros: break
        case .pages:
            for place in stride(from: page, to: page + run.byteCount, by: run.pieceBytes) {
                copy(StreamPart.pageBytes, to: place)
                literalPages.append(place)
            }
        case .disk(let disk, let first): read(.disk(disk, block: first), run, at: page)
        case .sent(let first): read(.sent(first), run, at: page)
        }
        offset += run.byteCount
    }

    private mutating func read(_ place: PagePlace, _ run: MemoryRun, at offset: Int) {
        reads.append(
            MemoryUnpacker.Read(place: place, count: run.count, offset: offset, stride: run.pieceBytes))
    }

    private mutating func addHeaders(_ run: MemoryRun, _ first: UInt64) {
        bytes.withUnsafeMutableBytes { bytes in
            for piece in 0..<run.count {
                let header = first &+ UInt64(piece) &* UInt64(StreamPart.pageBytes)
                bytes.storeBytes(of: header.bigEndian, toByteOffset: offset + piece * run.pieceBytes, as: UInt64.self)
            }
        }
    }

    private mutating func copy(_ count: Int, to offset: Int) {
        bytes.withUnsafeMutableBytes {
            UnsafeMutableRawBufferPointer(rebasing: $0[offset..<offset + count]).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: literals[..<count]))
        }
        literals = UnsafeRawBufferPointer(rebasing: literals[count...])
    }
}
