import CLibNBD
import Testing

@testable import Block

@Suite("Extents of one block status")
struct ExtentListTests {
    private func extents(_ entries: [UInt32], limit: UInt64) -> [BlockExtent] {
        let list = ExtentList(limit: limit)
        let callback = list.callback()
        var (entries, error) = (entries, 0 as CInt)
        _ = callback.callback(callback.user_data, NBDClientLink.allocation, 0, &entries, entries.count, &error)
        callback.free(callback.user_data)
        return list.extents
    }

    @Test("More than was asked for -> up to its end; behind an empty extent -> nothing")
    func bounds() {
        #expect(extents([4096, 0, 8192, 3], limit: 8192).map(\.length) == [4096, 4096])
        #expect(extents([4096, 0, 0, 3, 4096, 0], limit: 1 << 20).map(\.length) == [4096])
    }

    @Test("Very many extents -> some are kept")
    func many() {
        let found = extents([UInt32](repeating: 1, count: 200_000), limit: 1 << 20)
        #expect(found.count == 4096 && found.allSatisfy { $0.length == 1 })
    }
}
