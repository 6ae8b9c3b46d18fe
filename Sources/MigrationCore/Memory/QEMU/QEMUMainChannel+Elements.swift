// Elements of the main channel, by their first byte.
extension QEMUMainChannel {
    mutating func element(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        switch QEMUElement(rawValue: bytes[0]) {
        case .sectionStart, .sectionFull: return beginning(bytes)
        case .sectionPart, .sectionEnd: return continuation(bytes)
        case .command: return command(bytes)
        case .configuration: return configuration(bytes)
        case .end:
            place = .description
            return .bytes(1)
        case .description, .footer, .subsection, nil: return lost(bytes, .unknownElement(bytes[0]))
        }
    }

    /// The section of a device, or of RAM, begins: number, name, instance and version.
    private mutating func beginning(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= 6 else { return .more }
        let name = 6..<6 + Int(bytes[5])
        let end = name.upperBound + 8
        guard bytes.count >= end else { return .more }
        let section = bytes.bigEndian(UInt32.self, at: 1)
        place = .device(section)
        guard bytes[0] == QEMUElement.sectionStart.rawValue else { return .bytes(end) }
        if !started.contains(section) {
            guard started.count < Self.mostSections else { return .problem(.tooManySections) }
            started.append(section)
        }
        return bytes[name].elementsEqual("ram".utf8) ? ramBegins(bytes, section, end) : .bytes(end)
    }

    private mutating func ramBegins(_ bytes: UnsafeRawBufferPointer, _ section: UInt32, _ end: Int) -> StreamStep {
        let version = bytes.bigEndian(UInt32.self, at: end - 4)
        guard version == 4 else { return .problem(.ramVersion(version)) }
        ramSection = section
        place = .ram
        return .bytes(end)
    }

    /// A further or the last section of something that has begun.
    private mutating func continuation(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= 5 else { return .more }
        let section = bytes.bigEndian(UInt32.self, at: 1)
        if kind == .resumed, !started.contains(section) { return resumption(bytes, section) }
        guard started.contains(section) else { return lost(bytes, .unknownSection(section)) }
        place = section == ramSection ? .ram : .device(section)
        return .bytes(5)
    }

    /// A section that began on an earlier channel: RAM, if its content looks so.
    private mutating func resumption(_ bytes: UnsafeRawBufferPointer, _ section: UInt32) -> StreamStep {
        guard bytes.count >= 5 + QEMURAMContent.wordBytes else { return .more }
        guard started.count < Self.mostSections else { return .problem(.tooManySections) }
        started.append(section)
        let isRAM = ramSection == nil && QEMURAMFlags.mayBegin(with: bytes.bigEndian(UInt64.self, at: 5))
        if isRAM { ramSection = section }
        place = isRAM ? .ram : .device(section)
        return .bytes(5)
    }

    private mutating func command(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= QEMUCommand.headerBytes else { return .more }
        let length = Int(bytes.bigEndian(UInt16.self, at: 3))
        switch (QEMUCommand(rawValue: bytes.bigEndian(UInt16.self, at: 1)), length) {
        case (.packaged, 4): return package(bytes)
        case (.adviseOfPostcopy, 16): return advice(bytes)
        case (.enableCOLO, _): return .problem(.colo)
        default:
            place = .element
            return .bytes(QEMUCommand.headerBytes, others: length)
        }
    }

    /// The devices' elements follow, without memory.
    private mutating func package(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        let end = QEMUCommand.headerBytes + 4
        guard bytes.count >= end else { return .more }
        place = .element
        hasPackage = true
        return .bytes(end, others: Int(bytes.bigEndian(UInt32.self, at: end - 4)))
    }

    /// All page sizes of blocks, and the guest's.
    private mutating func advice(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        let end = QEMUCommand.headerBytes + 16
        guard bytes.count >= end else { return .more }
        let pageBytes = bytes.bigEndian(UInt64.self, at: end - 8)
        guard ram.setPageBytes(pageBytes) else { return .problem(.pageBytes(pageBytes)) }
        ram.hasPostcopy = true
        place = .element
        return .bytes(end)
    }

    /// Something is no element. If the end of a device's section was looked for, the end was not there.
    private mutating func lost(_ bytes: UnsafeRawBufferPointer, _ problem: QEMUProblem) -> StreamStep {
        guard let section = foundEnd else { return .problem(problem) }
        place = .device(section)
        return device(bytes, section)
    }
}
