// Feeds the parser of QEMU's and Xen's migration streams with libFuzzer's inputs.
//
// The first byte says how the rest, a stream, is cut. The second says after which pieces nothing more is there for a
// while. What must hold: it never crashes; the parts cover the stream, and less than 8 KiB are kept back; a page has the
// header of one; however the bytes are cut, the parts are the same; and waiting hides no page but those within which it
// happens.

@testable import MigrationCore

private let limit = 8 << 10

private func check(_ holds: Bool, _ complaint: StaticString) {
    if !holds { fatalError("\(complaint)") }
}

/// A part and its place in the stream.
private struct Place: Hashable {
    let kind: StreamPart.Kind
    let range: Range<Int>
}

/// The parts of a stream that arrives in pieces.
private struct Division {
    /// All but bytes.
    private(set) var pages: Set<Place> = []
    private(set) var problem: String?
    private var covered = 0

    /// - Parameter waits: whether nothing more is there for a while behind a piece that ends at an offset.
    init(_ stream: UnsafeRawBufferPointer, step: Int, waits: (Int) -> Bool) {
        var parser = GuestStreamParser()
        var parts: [StreamPart] = []
        var arrived = 0
        while arrived < stream.count {
            arrived = min(stream.count, arrived + step)
            let isWaiting = arrived == stream.count || waits(arrived)
            let piece = UnsafeRawBufferPointer(rebasing: stream[covered..<arrived])
            parts.removeAll(keepingCapacity: true)
            let count = parser.parse(piece, isWaiting: isWaiting, into: &parts)
            check(parts.reduce(0) { $0 + $1.count } == count, "the parts are not what is covered")
            for part in parts { add(part, stream) }
            check(arrived - covered < (isWaiting ? 1 : limit), "too much is kept back")
        }
        check(covered == stream.count, "not all is covered")
        problem = parser.problem
    }

    private mutating func add(_ part: StreamPart, _ stream: UnsafeRawBufferPointer) {
        check(part.count > 0 && part.count <= stream.count - covered, "a part beyond the stream")
        let range = covered..<covered + part.count
        covered = range.upperBound
        guard part.kind != .bytes else { return }
        check(part.count == StreamPart.count(of: part.kind), "a part of another length")
        let header = stream[range].prefix(8).reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        if part.kind == .page { check(header & 0xfff == 0x28, "a page with another header") }
        if part.kind == .zeroPage {
            check(header & 0xfff == 0x22 && stream[range.upperBound - 1] == 0, "a zero page with another header")
        }
        pages.insert(Place(kind: part.kind, range: range))
    }
}

/// libFuzzer's entry.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzMemory(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count >= 2 else { return 0 }
    let stream = UnsafeRawBufferPointer(start: start + 2, count: count - 2)
    // From single bytes to more than a page.
    let step = Int(start[0]) * Int(start[0]) / 8 + 1
    let pattern = start[1]
    let whole = Division(stream, step: max(1, stream.count)) { _ in false }
    let cut = Division(stream, step: step) { _ in false }
    check(cut.pages == whole.pages && cut.problem == whole.problem, "the cut makes a difference")
    var waits: [Int] = []
    let waiting = Division(stream, step: step) { offset in
        guard pattern & 1 << UInt8(offset / step % 8) != 0 else { return false }
        waits.append(offset)
        return true
    }
    let uncut = whole.pages.filter { page in
        !waits.contains { $0 > page.range.lowerBound && $0 < page.range.upperBound }
    }
    check(uncut.isSubset(of: waiting.pages), "waiting hides a page")
    check(waiting.problem == whole.problem, "waiting makes a problem")
    return 0
}
