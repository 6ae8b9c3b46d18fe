/// Reads the content of RAM sections (migration/ram.c, `ram_load_precopy` and `ram_load_postcopy`).
struct QEMURAMContent: Sendable {
    /// Bytes of a word, and of the header of a page that has no block's name.
    static let wordBytes = 8

    /// Bytes of the guest's pages: a power of 2, from 1 KiB to 64 KiB. x86 and nearly all Arm machines have 4096.
    private(set) var pageBytes = StreamPart.pageBytes
    /// The capability postcopy-ram is on: blocks of other pages than the host's say which.
    var hasPostcopy = false
    /// The capability x-ignore-shared is on: blocks say their addresses.
    var ignoresShared = false
    /// Bytes of blocks that the list has still to name; nil outside of a list.
    private var unnamedBytes: UInt64?

    /// - Returns: false, and nothing has changed, if the guest's pages can't have this size.
    mutating func setPageBytes(_ count: UInt64) -> Bool {
        guard (1 << 10...1 << 16).contains(count), count.nonzeroBitCount == 1 else { return false }
        pageBytes = Int(count)
        return true
    }

    /// The word at the beginning of bytes ends the section.
    func endsSection(_ bytes: UnsafeRawBufferPointer) -> Bool {
        unnamedBytes == nil && bytes.count >= Self.wordBytes && flags(of: bytes) == .endOfSection
    }

    mutating func next(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        if let unnamedBytes { return block(bytes, unnamedBytes) }
        guard bytes.count >= Self.wordBytes else { return .more }
        let flags = flags(of: bytes)
        switch flags.subtracting(.sameBlock) {
        case .page, .zero, .compressed, .xbzrle: return page(bytes, flags)
        default: return other(bytes, flags)
        }
    }

    private func flags(of bytes: UnsafeRawBufferPointer) -> QEMURAMFlags {
        QEMURAMFlags(rawValue: bytes.bigEndian(UInt64.self, at: 0) & UInt64(pageBytes - 1))
    }

    /// A word that has no page.
    private mutating func other(_ bytes: UnsafeRawBufferPointer, _ flags: QEMURAMFlags) -> StreamStep {
        switch flags {
        case .blocks:
            let total = bytes.bigEndian(UInt64.self, at: 0) - flags.rawValue
            unnamedBytes = total == 0 ? nil : total
        case .endOfSection, .hook, .multifdFlush: break
        default: return .problem(.ramFlags(flags.rawValue))
        }
        return .bytes(Self.wordBytes)
    }

    // MARK: Pages

    private func page(_ bytes: UnsafeRawBufferPointer, _ flags: QEMURAMFlags) -> StreamStep {
        var header = Self.wordBytes
        if !flags.contains(.sameBlock) {
            guard bytes.count > header else { return .more }
            header += 1 + Int(bytes[header])
        }
        switch flags.subtracting(.sameBlock) {
        case .page: return plainPage(bytes, header)
        case .zero: return zeroPage(bytes, header)
        case .compressed: return compressedPage(bytes, header)
        default: return difference(bytes, header)
        }
    }

    private func plainPage(_ bytes: UnsafeRawBufferPointer, _ header: Int) -> StreamStep {
        guard bytes.count >= header else { return .more }
        guard pageBytes % StreamPart.pageBytes == 0 else { return .bytes(header, others: pageBytes) }
        let payload = StreamPayload(pages: pageBytes)
        let isPart = header == StreamPart.headerBytes && pageBytes == StreamPart.pageBytes
        return .item(StreamItem(kind: isPart ? .page : .bytes, count: header, payload: payload))
    }

    private func zeroPage(_ bytes: UnsafeRawBufferPointer, _ header: Int) -> StreamStep {
        guard bytes.count > header else { return .more }
        let isPart = header == StreamPart.headerBytes && bytes[header] == 0
        return .item(StreamItem(kind: isPart ? .zeroPage : .bytes, count: header + 1))
    }

    private func compressedPage(_ bytes: UnsafeRawBufferPointer, _ header: Int) -> StreamStep {
        guard bytes.count >= header + 4 else { return .more }
        let count = Int(bytes.bigEndian(UInt32.self, at: header))
        // zlib makes a page at most 1/4096 and 13 bytes longer (`compressBound`).
        guard count <= pageBytes + pageBytes / 4096 + 16 else { return .problem(.compressedLength(count)) }
        return .bytes(header + 4, others: count)
    }

    private func difference(_ bytes: UnsafeRawBufferPointer, _ header: Int) -> StreamStep {
        guard bytes.count >= header + 3 else { return .more }
        let count = Int(bytes.bigEndian(UInt16.self, at: header + 1))
        guard bytes[header] == 1, count <= pageBytes else { return .problem(.compressedLength(count)) }
        return .bytes(header + 3, others: count)
    }

    // MARK: The list of blocks

    /// A block: its name, its length, and what the capabilities add.
    private mutating func block(_ bytes: UnsafeRawBufferPointer, _ unnamed: UInt64) -> StreamStep {
        guard let first = bytes.first else { return .more }
        let end = 1 + Int(first) + 8
        guard bytes.count >= end else { return .more }
        let length = bytes.bigEndian(UInt64.self, at: end - 8)
        guard first > 0, length <= unnamed else { return .problem(.blockList) }
        let isLast = length == unnamed
        guard let added = addedWords(bytes.from(end), isLast: isLast) else { return .more }
        guard bytes.count >= end + 8 * added else { return .more }
        unnamedBytes = isLast ? nil : unnamed - length
        return .bytes(end + 8 * added)
    }

    /// Words between a block's length and the next block or, for the last, the next flags; nil if more bytes are needed.
    ///
    /// With post-copy, a page size is first if it is not the host's. With x-ignore-shared, an address is last.
    private func addedWords(_ bytes: UnsafeRawBufferPointer, isLast: Bool) -> Int? {
        let least = ignoresShared ? 1 : 0
        guard hasPostcopy else { return least }
        guard bytes.count >= 8 else { return nil }
        guard isPageSize(bytes.bigEndian(UInt64.self, at: 0)) else { return least }
        guard ignoresShared else { return 1 }
        // It may as well be the address: then the next block or the next flags follow, and not another word.
        guard bytes.count >= (isLast ? 16 : 9) else { return nil }
        return (isLast ? hasNoFlags(bytes.bigEndian(UInt64.self, at: 8)) : bytes[8] == 0) ? 2 : 1
    }

    /// Whether a word can be the page size of a block. The length of a name, or flags, make another word of it.
    private func isPageSize(_ word: UInt64) -> Bool { word.nonzeroBitCount == 1 && hasNoFlags(word) && word < 1 << 56 }

    private func hasNoFlags(_ word: UInt64) -> Bool { word & UInt64(pageBytes - 1) == 0 }
}
