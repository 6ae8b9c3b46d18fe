/// Numbers at fixed places of a header, least significant byte first.
extension [UInt8] {
    mutating func put<Number: FixedWidthInteger>(_ number: Number, at offset: Int) {
        Swift.withUnsafeBytes(of: number.littleEndian) {
            replaceSubrange(offset..<offset + $0.count, with: $0)
        }
    }

    func number<Number: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: Number.Type) -> Number {
        withUnsafeBytes { Number(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
    }
}
