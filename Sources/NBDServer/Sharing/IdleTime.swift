/// The idle time of cores as `/proc/stat` tells it; proc(5).
enum IdleTime {
    /// Bytes of the file that are read: the lines of the cores come first, and those of 1000 cores fit.
    static let limit = 128 << 10

    /// Returns the idle and waiting ticks so far, of the cores for which `isCounted` is not 0.
    /// - Parameter bytes: the file, of which only the lines of single cores count.
    static func ticks(_ bytes: UnsafeRawBufferPointer, of isCounted: [UInt8]) -> UInt64 {
        var rest = bytes[...]
        var sum: UInt64 = 0
        while rest.starts(with: "cpu".utf8) {
            rest = rest.dropFirst(3)
            // The first line is of all cores, and has no number.
            let core = number(&rest)
            var (idle, count): (UInt64, Int) = (0, 0)
            while count < 5, rest.first == UInt8(ascii: " ") {
                rest = rest.drop { $0 == UInt8(ascii: " ") }
                guard let value = number(&rest) else { break }
                // The fourth field is the idle time, and the fifth that of waiting for disks.
                if count >= 3 { idle &+= value }
                count += 1
            }
            if let core, core < isCounted.count, isCounted[Int(core)] != 0, count == 5 { sum &+= idle }
            rest = rest.drop { $0 != UInt8(ascii: "\n") }.dropFirst()
        }
        return sum
    }

    private static func number(_ bytes: inout Slice<UnsafeRawBufferPointer>) -> UInt64? {
        var value: UInt64?
        while let byte = bytes.first, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
            value = (value ?? 0) &* 10 &+ UInt64(byte - UInt8(ascii: "0"))
            bytes = bytes.dropFirst()
        }
        return value
    }
}
