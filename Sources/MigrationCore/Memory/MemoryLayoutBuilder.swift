/// Lays out the bytes of a batch: literals and headers stand at their places, and referenced pages are still to be read.
struct MemoryLayoutBuilder {
    private let runs: [MemoryRun]
    private var literals: UnsafeRawBufferPointer
    private(set) var bytes: [UInt8]
    private(set) var reads: [MemoryUnpacker.Read] = []
    private(set) var literalPages: [Int] = []

    init(_ runs: [MemoryRun], literals: UnsafeRawBufferPointer) {
        self.runs = runs
        self.literals = literals
        bytes = [UInt8](repeating: 0, count: runs.reduce(0) { $0 + $1.count * $1.pieceBytes })
    }

    mutating func build() {
        var offset = 0
        for run in runs {
            add(run, at: offset)
            offset += run.count * run.pieceBytes
        }
    }

    private mutating func add(_ run: MemoryRun, at offset: Int) {
        if let header = run.header { addHeaders(run, header, at: offset) }
        let page = offset + (run.header == nil ? 0 : StreamPart.headerBytes)
        switch run.source {
        case .bytes: copy(run.count, to: offset)
        case .zeros: break
        case .pages:
            for place in stride(from: page, to: page + run.count * run.pieceBytes, by: run.pieceBytes) {
                copy(StreamPart.pageBytes, to: place)
                literalPages.append(place)
            }
        case .disk(let disk, let first): read(.disk(disk, block: first), run, at: page)
        case .sent(let first): read(.sent(first), run, at: page)
        }
    }

    private mutating func read(_ place: PagePlace, _ run: MemoryRun, at offset: Int) {
        reads.append(
            MemoryUnpacker.Read(place: place, count: run.count, offset: offset, stride: run.pieceBytes))
    }

    private mutating func addHeaders(_ run: MemoryRun, _ first: UInt64, at offset: Int) {
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
