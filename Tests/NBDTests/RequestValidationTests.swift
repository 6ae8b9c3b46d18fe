import Testing

@testable import NBD

/// Every command with every flag at every boundary, compared with a second formulation of the rules.
@Suite(.timeLimit(.minutes(10))) struct RequestValidationTests {
    private static let sizes: [UInt64] = [1, 511, 4096, 64 << 20, (64 << 20) + 1, 1 << 40, 1 << 62]

    @Test(arguments: sizes, [HeaderStyle.simple, .structured, .extended])
    func everyRequestGetsTheVerdictOfTheRules(size: UInt64, style: HeaderStyle) {
        for isReadOnly in [false, true] {
            let export = ExportDescription(name: "", size: size, isReadOnly: isReadOnly)
            for contexts in [[], [MetaContext.allocation]] {
                compare(Negotiation(export: export, style: style, contexts: contexts))
            }
        }
    }

    private func compare(_ negotiation: Negotiation) {
        let size = negotiation.export.size
        let limit: UInt64 = 64 << 20
        var lengths: Set<UInt64> = [0, 1, 2, 511, 512, size - 1, size, size + 1, limit - 1, limit, limit + 1]
        lengths.formUnion([UInt64(UInt32.max) - 1, UInt64(UInt32.max)])
        if negotiation.style == .extended { lengths.formUnion([1 << 32, 1 << 63, .max - 1, .max]) }
        for length in lengths where negotiation.style == .extended || length <= UInt32.max {
            let offsets: Set<UInt64> = [
                0, 1, size - 1, size, size + 1, size &- length, size &- length &+ 1, size &- length &- 1, .max,
                .max &- length, 0 &- length, 1 &- length, 1 << 63, UInt64(Int64.max),
            ]
            for offset in offsets {
                for type in Array(UInt16(0)...9) + [255, 256, .max] {
                    for flags in [UInt16(0), 1, 2, 3, 4, 5, 8, 9, 16, 17, 18, 19, 32, 33, 64, 0x8000, .max] {
                        compare(type, flags, offset, length, negotiation)
                    }
                }
            }
        }
    }

    private func compare(
        _ type: UInt16, _ flags: UInt16, _ offset: UInt64, _ length: UInt64, _ negotiation: Negotiation
    ) {
        let isExtended = negotiation.style == .extended
        let magic: UInt32 = isExtended ? 0x21e4_1c71 : 0x2560_9513
        let header =
            be(magic) + be(flags) + be(type) + be(UInt64(0)) + be(offset)
            + (isExtended ? be(length) : be(UInt32(length)))
        guard let request = Request(header: header, style: negotiation.style) else {
            Issue.record("a good header was refused")
            return
        }
        let verdict = request.verdict(under: negotiation.terms)
        let expected = rules(type, flags, offset, length, negotiation)
        if verdict.rawValue != expected { Issue.record("\(request) under \(negotiation): \(verdict), not \(expected)") }
    }

    /// The rules in wire numbers, with sums that can't overflow.
    private func rules(
        _ type: UInt16, _ flags: UInt16, _ offset: UInt64, _ length: UInt64, _ negotiation: Negotiation
    ) -> UInt32 {
        let export = negotiation.export
        let isBeyond = offset > export.size || length > export.size - min(offset, export.size)
        let isLong = length > 64 << 20
        let knowsChunks = negotiation.style != .simple
        let isExtended = negotiation.style == .extended
        // A disconnect has no reply.
        if type == 2 { return 0 }
        switch (type, flags) {
        case (0, 0...1), (3...5, 0...1): break
        case (0, 4...5) where knowsChunks: break
        case (1, 0...1): break
        case (1, 32...33) where isExtended: break
        case (6, 0...3), (6, 16...19): break
        case (7, 0...1), (7, 8...9): break
        default: return 22
        }
        switch type {
        case 0: return isLong ? (knowsChunks ? 75 : 22) : isBeyond ? 22 : 0
        case 1: return export.isReadOnly ? 1 : isLong ? 22 : isBeyond ? 28 : 0
        case 3: return offset == 0 && length == 0 ? 0 : 22
        case 4: return export.isReadOnly ? 1 : isBeyond ? 22 : 0
        case 5: return isBeyond ? 22 : 0
        case 7: return negotiation.contexts.isEmpty || length == 0 || isBeyond ? 22 : 0
        default: return export.isReadOnly ? 1 : isBeyond ? 28 : 0
        }
    }
}
