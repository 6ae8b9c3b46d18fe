@testable import MigrationCore

/// Says what a test has written down about a stream.
struct ScriptedParser: StreamParser {
    /// The parts that have not been passed on.
    var script: ArraySlice<StreamPart>
    var problem: String?

    init(_ script: [StreamPart]) {
        self.script = script[...]
    }

    mutating func parse(_ bytes: UnsafeRawBufferPointer, isWaiting: Bool, into parts: inout [StreamPart]) -> Int {
        var offset = 0
        while let part = script.first, part.count <= bytes.count - offset {
            parts.append(part)
            offset += part.count
            script.removeFirst()
        }
        if isWaiting, offset < bytes.count {
            let rest = StreamPart(.bytes, bytes.count - offset)
            parts.append(rest)
            script[script.startIndex] = StreamPart(.bytes, script.first!.count - rest.count)
            offset = bytes.count
        }
        return offset
    }
}
