import Glibc

/// Permission bits in octal, as in chmod(1): `0640`.
public struct FileMode: Sendable {
    private static let forms = "a mode is three octal digits, as in 0640 or 660"

    /// Permission bits, 0 to 0777.
    public let bits: mode_t

    /// - Throws: `InvalidValue` if the text is not three octal digits, with or without a leading 0.
    public init(_ text: String) throws(InvalidValue) {
        guard (3...4).contains(text.utf8.count), text.utf8.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "7")).contains),
            let bits = mode_t(text, radix: 8), bits <= 0o777
        else { throw InvalidValue(Self.forms) }
        self.bits = bits
    }

    /// Parses the mode of a disk image, which must let the node use the image after a restart.
    /// - Throws: `InvalidValue`.
    public static func ofImage(_ text: String) throws(InvalidValue) -> FileMode {
        let mode = try FileMode(text)
        guard mode.bits & 0o600 == 0o600 else {
            throw InvalidValue("the owner must be able to read and write the image; \(forms)")
        }
        return mode
    }
}
