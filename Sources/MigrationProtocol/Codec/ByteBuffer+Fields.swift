import Hashing
import NIOCore

/// Fields that several messages have. docs/protocol.md, "Fields".
extension ByteBuffer {
    mutating func readMigrations() -> [MigrationID]? {
        guard let count: UInt16 = readInteger(), (1...OfferLimits.maximumAliases).contains(Int(count)) else {
            return nil
        }
        var migrations: [MigrationID] = []
        for _ in 0..<count {
            guard let migration = MigrationID(from: &self) else { return nil }
            migrations.append(migration)
        }
        return migrations
    }

    package mutating func writeFingerprint(_ fingerprint: Fingerprint) {
        writeMultipleIntegers(fingerprint.high, fingerprint.low)
    }

    package mutating func readFingerprint() -> Fingerprint? {
        readMultipleIntegers(as: (UInt64, UInt64).self).map { Fingerprint(high: $0.0, low: $0.1) }
    }

    /// Eight to a byte, the first one the lowest.
    package mutating func writeBits(_ bits: [Bool]) {
        var packed = [UInt8](repeating: 0, count: (bits.count + 7) / 8)
        for (index, isSet) in bits.enumerated() where isSet { packed[index / 8] |= 1 << UInt8(index % 8) }
        writeBytes(packed)
    }

    package mutating func readBits(_ count: Int) -> [Bool]? {
        readBytes(length: (count + 7) / 8).map { packed in
            (0..<count).map { packed[$0 / 8] >> UInt8($0 % 8) & 1 == 1 }
        }
    }

    mutating func writeReason(_ kind: Message.Kind, _ reason: String) {
        // The other side takes this many bytes; a character may have any number of them.
        var reason = reason[...]
        while reason.utf8.count > Message.maximumText { reason.unicodeScalars.removeLast() }
        writeInteger(kind.rawValue)
        writeText(String(reason))
    }

    mutating func writeRoot(_ kind: Message.Kind, _ root: DiskRoot) {
        writeInteger(kind.rawValue)
        writeBytes(root.bytes)
    }

    mutating func writeText(_ text: String) {
        writeInteger(UInt16(clamping: text.utf8.count))
        writeBytes(text.utf8.prefix(Int(UInt16.max)))
    }

    mutating func readText(maximum: Int) -> String? {
        guard let count: UInt16 = readInteger(), count <= maximum, let bytes = readBytes(length: Int(count))
        else {
            return nil
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// Text of a peer goes to logs and terminals: one line, and no commands to either.
    mutating func readReason() -> String? {
        readText(maximum: Message.maximumText).map { text in
            String(
                String.UnicodeScalarView(
                    text.unicodeScalars.map { Self.isHidden($0) ? "?" : $0 }))
        }
    }

    /// Format characters turn the direction of what follows, or make it vanish; joiners only make words and pictures.
    private static func isHidden(_ scalar: Unicode.Scalar) -> Bool {
        if ["\u{200c}", "\u{200d}"].contains(scalar) { return false }
        return [.control, .format, .lineSeparator, .paragraphSeparator].contains(scalar.properties.generalCategory)
    }

    mutating func takeRest() -> ByteBuffer {
        readSlice(length: readableBytes)!
    }
}
