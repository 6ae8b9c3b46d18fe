import Foundation
import MigrationCore

/// Memory streams as QEMU makes them, of given pages.
enum MadeMemory {
    /// The beginning of a stream, pages at ascending addresses, and the end of their section.
    static func stream(of pages: [UInt8]) -> [UInt8] { beginning(of: pages.count) + section(of: pages) }

    /// The beginning of a stream whose guest runs at the destination already: its devices have gone in a package.
    static func postCopy(of count: Int) -> [UInt8] {
        var out = beginning(of: count)
        // A command, its number and its length; then the length of the package.
        out.append(8)
        out.add(UInt16(7))
        out.add(UInt16(4))
        out.add(UInt32(100))
        return out + [UInt8](repeating: 9, count: 100)
    }

    private static func beginning(of count: Int) -> [UInt8] {
        var out: [UInt8] = Array("QEVM".utf8)
        out.add(UInt32(3))
        // Section start: type, id, name, instance, version; then the block list of one RAM block.
        out.append(1)
        out.add(UInt32(1))
        out.append(3)
        out += Array("ram".utf8)
        out.add(UInt32(0))
        out.add(UInt32(4))
        out.add(UInt64(count) | 0x04)
        out.append(6)
        out += Array("pc.ram".utf8)
        out.add(UInt64(count))
        out.add(UInt64(0x10))
        out.footer()
        return out
    }

    /// A section with pages at ascending addresses.
    static func section(of pages: [UInt8]) -> [UInt8] {
        var out: [UInt8] = [2]
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
