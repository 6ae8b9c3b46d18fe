// The configuration at the beginning of the main channel (migration/savevm.c, `vmstate_configuration`).
extension QEMUMainChannel {
    /// The type, and the name of the machine.
    mutating func configuration(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= 5 else { return .more }
        place = .configuration
        return .bytes(5, others: Int(bytes.bigEndian(UInt32.self, at: 1)))
    }

    /// A subsection: type, name, version, and content of a length that the name tells.
    mutating func subsection(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes[0] == QEMUElement.subsection.rawValue else { return element(bytes) }
        guard bytes.count >= 2 else { return .more }
        let name = 2..<2 + Int(bytes[1])
        let end = name.upperBound + 4
        guard bytes.count >= end + 4 else { return .more }
        let number = bytes.bigEndian(UInt32.self, at: end)
        switch String(decoding: bytes[name], as: UTF8.self) {
        case "configuration/target-page-bits": return pageBits(number, end + 4)
        case "configuration/capabilities":
            place = number == 0 ? .configuration : .capabilities(number)
            return .bytes(end + 4)
        case "configuration/uuid": return .bytes(end, others: 16)
        default: return .problem(.unknownSubsection)
        }
    }

    private mutating func pageBits(_ bits: UInt32, _ count: Int) -> StreamStep {
        guard bits < 64, ram.setPageBytes(1 << UInt64(bits)) else { return .problem(.pageBits(bits)) }
        return .bytes(count)
    }

    /// The name of a capability that is on. QEMU names those without which the rest could not be understood.
    mutating func capability(_ bytes: UnsafeRawBufferPointer, _ left: UInt32) -> StreamStep {
        let end = 1 + Int(bytes[0])
        guard bytes.count >= end else { return .more }
        switch String(decoding: bytes[1..<end], as: UTF8.self) {
        case "mapped-ram": return .problem(.mappedRAM)
        case "x-ignore-shared": ram.ignoresShared = true
        default: break
        }
        place = left == 1 ? .configuration : .capabilities(left - 1)
        return .bytes(end)
    }
}
