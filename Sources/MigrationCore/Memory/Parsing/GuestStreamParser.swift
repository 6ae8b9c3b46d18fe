/// Finds the pages in the bytes that a hypervisor sends on one connection of a live migration.
///
/// It understands the streams of QEMU 7.2 to 10.2 and of Xen since 4.6, without knowing which capabilities are on:
/// docs/memory-streams.md. Its work for each page does not depend on the page's bytes, and needs no memory but that of the part.
package struct GuestStreamParser: StreamParser {
    private var parser = ItemStreamParser<GuestStreamReader>()

    package init() {}

    package var problem: String? { parser.problem }

    package var stage: MemoryStage { parser.stage }

    package mutating func parse(
        _ bytes: UnsafeRawBufferPointer, isWaiting: Bool, into parts: inout [StreamPart]
    ) -> Int {
        parser.parse(bytes, isWaiting: isWaiting, into: &parts)
    }
}
