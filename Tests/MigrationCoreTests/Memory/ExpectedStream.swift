@testable import MigrationCore

/// A stream that a test makes, and the parts that are expected of it.
struct ExpectedStream {
    private(set) var bytes: [UInt8] = []
    /// The parts of `bytes`, with no two neighbouring ones of the kind `.bytes`.
    private(set) var parts: [StreamPart] = []

    mutating func add(_ added: [UInt8], _ kind: StreamPart.Kind = .bytes) {
        guard !added.isEmpty else { return }
        bytes += added
        Self.join(&parts, StreamPart(kind, added.count))
    }

    /// Pages without headers.
    mutating func add(pages content: [UInt8]) {
        for start in stride(from: 0, to: content.count, by: StreamPart.pageBytes) {
            add(Array(content[start..<start + StreamPart.pageBytes]), .barePage)
        }
    }

    /// The places of the parts within which nobody waits.
    func whole(_ waits: Set<Int>) -> Set<ParsedStream.Place> {
        var places: Set<ParsedStream.Place> = []
        var offset = 0
        for part in parts {
            if part.kind != .bytes, waits.isDisjoint(with: offset + 1..<offset + part.count) {
                places.insert(.init(kind: part.kind, offset: offset))
            }
            offset += part.count
        }
        return places
    }

    static func merged(_ parts: some Sequence<StreamPart>) -> [StreamPart] {
        parts.reduce(into: []) { join(&$0, $1) }
    }

    private static func join(_ parts: inout [StreamPart], _ part: StreamPart) {
        if part.kind == .bytes, parts.last?.kind == .bytes {
            parts[parts.count - 1].count += part.count
        } else {
            parts.append(part)
        }
    }
}
