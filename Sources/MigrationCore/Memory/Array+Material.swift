import Hashing

extension [UInt8] {
    /// Adds what stands for a page in a `StreamProof`.
    mutating func append(header: UInt64?, _ content: Fingerprint) {
        if let header { Swift.withUnsafeBytes(of: header.bigEndian) { append(contentsOf: $0) } }
        Swift.withUnsafeBytes(of: (content.high.bigEndian, content.low.bigEndian)) { append(contentsOf: $0) }
    }
}
