import Foundation
import MigrationCore

/// Memory streams as QEMU makes them, of given pages.
enum MadeMemory {
    /// The beginning of a stream, pages at ascending addresses, and the end of their section.
    static func stream(of pages: [UInt8]) -> [UInt8] {
        var out: [UInt8] = Array("QEVM".utf8)
        out.add(UInt32(3))
        // Section start: type, id, name, instance, version; then the block list of one RAM block.
        out.append(1)
        out.add(UInt32(1))
        out.append(3)
        out += Array("ram".utf8)
        out.add(UInt32(0))
        out.add(UInt32(4))
        out.add(UInt64(pages.count) | 0x04)
        out.append(6)
        out += Array("pc.ram".utf8)
        out.add(UInt64(pages.count))
        out.add(UInt64(0x10))
        out.footer()
        out.append(2)
        out.add(UInt32(1))
        for (number, start) in stride(from: 0, to: pages.count, by: StreamPart.pageBytes).enumerated() {
            out.add(UInt64(start) | (number == 0 ? 0x08 : 0x28))
            if number == 0 {
                out.append(6)
                out += Array("pc.ram".utf8)
            }
            out += pages[start..<start + StreamPart.pageBytes]
        }
        out.add(UInt64(0x10))
        out.footer()
        return out
    }
}

extension [UInt8] {
    fileprivate mutating func add(_ number: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
    }

    fileprivate mutating func footer() {
        append(0x7e)
        add(UInt32(1))
    }
}
