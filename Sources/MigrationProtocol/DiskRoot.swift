import NIOCore

/// One SHA-256 over the fingerprints of a whole disk: equal roots mean equal disks (invariant 8).
public struct DiskRoot: Hashable, Sendable, CustomStringConvertible {
    package static let byteCount = 32
    package let bytes: [UInt8]

    package init(_ bytes: [UInt8]) {
        precondition(bytes.count == Self.byteCount)
        self.bytes = bytes
    }

    package init?(from buffer: inout ByteBuffer) {
        guard let bytes = buffer.readBytes(length: Self.byteCount) else { return nil }
        self.bytes = bytes
    }

    /// 64 hexadecimal digits.
    public var description: String {
        let digits = Array("0123456789abcdef")
        return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }
}
