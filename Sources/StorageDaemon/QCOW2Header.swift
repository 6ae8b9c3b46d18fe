import Block
import Foundation

/// The names of other files in the header of a qcow2 image: docs/interop/qcow2.txt in QEMU.
public struct QCOW2Header: Equatable, Sendable {
    /// The longest name that QEMU writes.
    private static let longestName = 1023
    private static let externalDataFile: UInt64 = 1 << 2

    /// The file of which unwritten blocks are read, as the image says it; nil if there is none.
    public let backingFile: String?
    /// Whether the disk's bytes are in another file.
    public let hasDataFile: Bool

    /// The path of the backing file, which QEMU looks for in the folder of the image.
    /// - Parameter path: the path of the image, as QEMU opens it.
    /// - Returns: nil if there is no backing file, or its name is not that of a local file: it has a colon before any slash.
    func backingPath(from path: String) -> String? {
        guard let backingFile, !backingFile.isEmpty else { return nil }
        guard !backingFile.prefix(while: { $0 != "/" }).contains(":") else { return nil }
        guard !backingFile.hasPrefix("/"), let slash = path.lastIndex(of: "/") else { return backingFile }
        return path[...slash] + backingFile
    }

    /// Reads the header of a file.
    /// - Returns: nil if it can't be read or is no such header.
    public init?(path: String) {
        guard let file = try? RawImage(path: path, access: .readOnly), file.format()?.name == "qcow2" else {
            return nil
        }
        self.init { offset, count in
            guard offset + UInt64(count) <= file.size else { return nil }
            var bytes = [UInt8](repeating: 0, count: count)
            guard (try? bytes.withUnsafeMutableBytes({ try file.read(into: $0, at: offset) })) != nil else {
                return nil
            }
            return bytes
        }
    }

    /// Reads a header by a function that returns bytes of the file, or nil if it has fewer.
    init?(_ read: (_ offset: UInt64, _ count: Int) -> [UInt8]?) {
        guard let start = read(0, 72) else { return nil }
        func number(at offset: Int, bytes: Int, in start: [UInt8]) -> UInt64 {
            start[offset..<offset + bytes].reduce(0) { $0 << 8 | UInt64($1) }
        }
        let version = number(at: 4, bytes: 4, in: start)
        let place = number(at: 8, bytes: 8, in: start)
        let length = number(at: 16, bytes: 4, in: start)
        if place == 0 {
            backingFile = nil
        } else {
            guard length <= Self.longestName, place < 1 << 20, let name = read(place, Int(length)) else { return nil }
            backingFile = String(decoding: name, as: UTF8.self)
        }
        guard version >= 3, let features = read(72, 8) else {
            hasDataFile = false
            return
        }
        hasDataFile = number(at: 0, bytes: 8, in: features) & Self.externalDataFile != 0
    }
}
