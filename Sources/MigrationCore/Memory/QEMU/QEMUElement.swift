/// The first byte of each element of QEMU's main channel (migration/savevm.h).
enum QEMUElement: UInt8, Sendable {
    case end = 0
    /// The first, a further and the last section of what is saved while the guest runs, such as RAM.
    case sectionStart = 1
    case sectionPart = 2
    case sectionEnd = 3
    /// The state of a device.
    case sectionFull = 4
    /// Only within the configuration and within devices.
    case subsection = 5
    /// A description of all devices, in JSON.
    case description = 6
    case configuration = 7
    case command = 8
    case footer = 0x7e

    /// Bytes of a footer: its type and the number of the section that it ends.
    static let footerBytes = 5

    /// The highest number of a section that is likely. QEMU counts devices from 0.
    private static let mostNumber: UInt32 = 0xffff

    /// Whether an element is likely to begin here; nil if more bytes are needed.
    /// - Parameter started: the sections that may continue; nil if they are not known.
    static func mayBegin(_ bytes: UnsafeRawBufferPointer, started: [UInt32]?) -> Bool? {
        guard let first = bytes.first else { return nil }
        switch QEMUElement(rawValue: first) {
        case .sectionStart, .sectionFull: return mayBeginSection(bytes)
        case .sectionPart, .sectionEnd:
            guard bytes.count >= 5 else { return nil }
            let section = bytes.bigEndian(UInt32.self, at: 1)
            return started?.contains(section) ?? (section <= mostNumber)
        case .command:
            guard bytes.count >= 5 else { return nil }
            return QEMUCommand.mayHave(
                number: bytes.bigEndian(UInt16.self, at: 1), length: bytes.bigEndian(UInt16.self, at: 3))
        case .end: return mayEnd(bytes)
        default: return false
        }
    }

    /// The section's number is small, and its name has only characters that can be printed.
    private static func mayBeginSection(_ bytes: UnsafeRawBufferPointer) -> Bool? {
        guard bytes.count >= 6 else { return nil }
        let length = Int(bytes[5])
        guard bytes.bigEndian(UInt32.self, at: 1) <= mostNumber, length > 0 else { return false }
        guard bytes.count >= 6 + length else { return nil }
        return bytes[6..<6 + length].allSatisfy { (0x20..<0x7f).contains($0) }
    }

    /// A description of the devices follows the end. If nothing follows it, that is never known.
    private static func mayEnd(_ bytes: UnsafeRawBufferPointer) -> Bool? {
        guard bytes.count >= 2 else { return nil }
        guard bytes[1] == description.rawValue else { return false }
        return bytes.count < 7 ? nil : bytes[6] == UInt8(ascii: "{")
    }
}
