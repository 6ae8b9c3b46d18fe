/// Reads QEMU's main channel: elements, some of which have RAM (migration/savevm.c, `qemu_loadvm_state`).
///
/// Only RAM sections are understood. The sections of devices have no length, so their ends are looked for. A post-copy
/// preempt channel, which has nothing but the content of a RAM section, is read too.
struct QEMUMainChannel: Sendable {
    enum Kind: Sendable {
        case whole
        /// Only content of RAM sections.
        case preempt
        /// Elements of a post-copy that was interrupted: sections continue that began on another channel.
        case resumed
    }

    /// The kind of item that comes next.
    enum Place: Equatable, Sendable {
        case header
        case element
        /// A subsection of the configuration, or an element.
        case configuration
        /// Names of capabilities, at least this many.
        case capabilities(UInt32)
        case ram
        /// The end of a RAM section with this number.
        case footer(UInt32)
        /// Content of a device's section with this number, up to its footer.
        case device(UInt32)
        case description
        case ended
    }

    /// Sections that may continue. QEMU has one for RAM, and one for each device and bitmap that is copied while the guest
    /// runs.
    static let mostSections = 1024

    var place: Place
    var ram = QEMURAMContent()
    /// The number of the RAM section.
    var ramSection: UInt32?
    var started: [UInt32] = []
    /// A section whose end was looked for and found; nil once the end of a RAM section has confirmed it.
    var foundEnd: UInt32?
    let kind: Kind
    /// Whether the devices have gone in a package: the guest runs at the destination from then on.
    var hasPackage = false

    init(_ kind: Kind = .whole) {
        self.kind = kind
        switch kind {
        case .whole: place = .header
        case .preempt: place = .ram
        case .resumed: place = .element
        }
    }

    var stage: MemoryStage {
        switch kind {
        case .whole: hasPackage ? .postCopy : .preCopy
        case .preempt: .requested
        case .resumed: .postCopy
        }
    }

    /// - Parameter bytes: at least 1 byte.
    mutating func next(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        switch place {
        case .ram: ramContent(bytes)
        case .device(let section): device(bytes, section)
        case .element: element(bytes)
        case .footer(let section): footer(bytes, section)
        case .header: header(bytes)
        case .configuration: subsection(bytes)
        case .capabilities(let count): capability(bytes, count)
        case .description: description(bytes)
        case .ended: .bytes(bytes.count)
        }
    }

    private mutating func header(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= 8 else { return .more }
        let version = bytes.bigEndian(UInt32.self, at: 4)
        guard version == 3 else { return .problem(.streamVersion(version)) }
        place = .element
        return .bytes(8)
    }

    private mutating func ramContent(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard let ramSection, kind != .preempt, ram.endsSection(bytes) else { return ram.next(bytes) }
        place = .footer(ramSection)
        return .bytes(QEMURAMContent.wordBytes)
    }

    /// The footer of a RAM section, which machines for Xen leave out.
    private mutating func footer(_ bytes: UnsafeRawBufferPointer, _ section: UInt32) -> StreamStep {
        guard bytes[0] == QEMUElement.footer.rawValue else { return element(bytes) }
        guard bytes.count >= QEMUElement.footerBytes else { return .more }
        let ended = bytes.bigEndian(UInt32.self, at: 1)
        guard ended == section else { return .problem(.otherFooter(ended)) }
        foundEnd = nil
        place = .element
        return .bytes(QEMUElement.footerBytes)
    }

    /// The content of a device's section, up to something that is likely to be its footer.
    mutating func device(_ bytes: UnsafeRawBufferPointer, _ section: UInt32) -> StreamStep {
        var passed = 0
        while let candidate = bytes.first(QEMUElement.footer.rawValue, from: passed) {
            switch isFooter(bytes.from(candidate), section) {
            case true?:
                place = .element
                foundEnd = section
                return .bytes(candidate + QEMUElement.footerBytes)
            case false?: passed = candidate + 1
            case nil: return candidate > 0 ? .bytes(candidate) : .more
            }
        }
        return .bytes(bytes.count)
    }

    /// Whether these bytes are a section's footer with an element behind it; nil if more bytes are needed.
    private func isFooter(_ bytes: UnsafeRawBufferPointer, _ section: UInt32) -> Bool? {
        guard bytes.count >= QEMUElement.footerBytes else { return nil }
        guard bytes.bigEndian(UInt32.self, at: 1) == section else { return false }
        return QEMUElement.mayBegin(bytes.from(QEMUElement.footerBytes), started: kind == .resumed ? nil : started)
    }

    /// The description of the devices, if there is one.
    private mutating func description(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes[0] == QEMUElement.description.rawValue else {
            place = .ended
            return .bytes(bytes.count)
        }
        guard bytes.count >= 5 else { return .more }
        place = .ended
        return .bytes(5, others: Int(bytes.bigEndian(UInt32.self, at: 1)))
    }
}
