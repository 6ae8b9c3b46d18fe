import Testing

@testable import NBD

/// Every command with every flag at every boundary, against the rules written down a second time.
@Suite(.timeLimit(.minutes(1))) struct RequestValidationTests {
    private static let sizes: [UInt64] = [1, 511, 4096, 32 << 20, (32 << 20) + 1, 1 << 40, 1 << 62]

    @Test(arguments: sizes, [false, true]) func theVerdictIsTheRules(size: UInt64, isReadOnly: Bool) {
        let export = ExportDescription(name: "", size: size, isReadOnly: isReadOnly)
        let limit = UInt32(32 << 20)
        let near = UInt32(truncatingIfNeeded: min(size, UInt64(UInt32.max)))
        let lengths: Set<UInt32> = [
            0, 1, 2, 511, 512, near &- 1, near, near &+ 1, limit - 1, limit, limit + 1, .max - 1, .max,
        ]
        for length in lengths {
            let distance = UInt64(length)
            let offsets: Set<UInt64> = [
                0, 1, size - 1, size, size + 1, size &- distance, size &- distance &+ 1,
                size &- distance &- 1,
                .max, .max &- distance, 0 &- distance, 1 &- distance, 1 << 63, UInt64(Int64.max),
            ]
            for offset in offsets {
                for type in Array(UInt16(0)...9) + [255, 256, .max] {
                    for flags in [UInt16(0), 1, 2, 3, 4, 5, 8, 16, 32, 0x8000, .max] {
                        let request = Request(
                            flags: CommandFlags(rawValue: flags), type: type, offset: offset, length: length)
                        let verdict = request.verdict(for: export)
                        let expected = rules(type, flags, offset, length, export)
                        if verdict.rawValue != expected {
                            Issue.record("\(request) of \(size) bytes: \(verdict), not \(expected)")
                        }
                    }
                }
            }
        }
    }

    /// In numbers of the wire, with sums that can't overflow.
    private func rules(
        _ type: UInt16, _ flags: UInt16, _ offset: UInt64, _ length: UInt32, _ export: ExportDescription
    ) -> UInt32 {
        let isBeyond =
            Double(offset) + Double(length) > Double(export.size)
            || offset > export.size || UInt64(length) > export.size - min(offset, export.size)
        let isLong = length > 32 << 20
        switch (type, flags) {
        case (6, 0...3), (0...4, 0...1): break
        default: return 22
        }
        switch type {
        case 0: return isLong ? 75 : isBeyond ? 22 : 0
        case 1: return export.isReadOnly ? 1 : isLong ? 75 : isBeyond ? 28 : 0
        case 2: return 0
        case 3: return offset == 0 && length == 0 ? 0 : 22
        case 4: return export.isReadOnly ? 1 : isBeyond ? 22 : 0
        default: return export.isReadOnly ? 1 : isBeyond ? 28 : 0
        }
    }
}
