/// Describes a memory stream in tokens. Its prediction goes on over all batches of a stream.
struct MemoryTokenWriter {
    /// The expectation of what follows. It may be set back to that before a batch, after `finish`.
    var prediction = MemoryPrediction()
    private var run: MemoryRun?
    private var tokens: [UInt8] = []

    /// Adds bytes that are no page.
    mutating func add(bytes count: Int) {
        if run?.source == .bytes {
            run!.count += count
        } else {
            finishRun()
            run = MemoryRun(.bytes, count: count)
        }
    }

    /// Adds a page.
    /// - Parameters:
    ///   - header: nil if it has none.
    ///   - source: with `first` as its block or page.
    mutating func add(page source: MemoryRun.Source, header: UInt64?) {
        let isZero = source == .zeros
        let isExpected = header.map { $0 == prediction.header(isZero: isZero) } ?? true
        if isExpected, prediction.hasHeaders == (header != nil), let run, run.isContinued(by: source) {
            self.run!.count += 1
        } else {
            finishRun()
            if prediction.hasHeaders != (header != nil) { setLayout(hasHeaders: header != nil) }
            if let header, !isExpected { write(header: header) }
            run = MemoryRun(source, count: 1, header: header)
        }
        if let header { prediction.passed(header, isZero: isZero) }
    }

    /// The tokens of everything that was added since the last call.
    mutating func finish() -> [UInt8] {
        finishRun()
        defer { tokens = [] }
        return tokens
    }

    private mutating func finishRun() {
        guard let run else { return }
        self.run = nil
        switch run.source {
        case .bytes: write(.bytes, run.count)
        case .zeros: write(.zeros, run.count)
        case .pages: write(.pages, run.count)
        case .disk(let disk, let first):
            if disk != prediction.disk { write(.selectDisk, disk + 1) }
            write(.disk, run.count)
            write(distance: Int64(bitPattern: first &- prediction.block))
            (prediction.disk, prediction.block) = (disk, first &+ UInt64(run.count))
        case .sent(let first):
            write(.sent, run.count)
            write(distance: Int64(bitPattern: first &- prediction.sent))
            prediction.sent = first &+ UInt64(run.count)
        }
    }

    private mutating func setLayout(hasHeaders: Bool) {
        write(.layout, hasHeaders ? 1 : 2)
        prediction.hasHeaders = hasHeaders
    }

    private mutating func write(header: UInt64) {
        let (pages, flags) = prediction.difference(of: header)
        write(.header, Int(flags) + 1)
        write(distance: pages)
    }

    private mutating func write(_ token: MemoryToken, _ count: Int) {
        write(UInt64(count) << MemoryToken.kindBits | token.rawValue)
    }

    /// Small distances of either sign are small numbers.
    private mutating func write(distance: Int64) {
        write(UInt64(bitPattern: distance << 1 ^ distance >> 63))
    }

    /// Seven bits a byte, the lowest first; the last byte has its top bit clear.
    private mutating func write(_ number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            tokens.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        tokens.append(UInt8(rest))
    }
}

extension MemoryRun {
    /// Whether a page of this source continues the run.
    fileprivate func isContinued(by page: Source) -> Bool {
        switch (source, page) {
        case (.zeros, .zeros), (.pages, .pages): true
        case (.disk(let disk, let first), .disk(let other, let block)):
            disk == other && first + UInt64(count) == block
        case (.sent(let first), .sent(let number)): first + UInt64(count) == number
        default: false
        }
    }
}
