import Foundation
import TestSupport
import Testing

/// `status` counts what clients trim, so that a script can tell whether a guest's discards reach the node.
@Suite("Trim counts", .timeLimit(.minutes(5)))
struct TrimCountTests {
    private let scratch = Scratch()

    @Test("Trims -> status counts their bytes; writes of zeros and refused trims are not counted")
    func counted() async throws {
        let image = try scratch.write([UInt8](repeating: 7, count: 1 << 20), to: "disk.raw")
        let node = try await NodeProcess(scratch.file("node"), [image, "--export", "disk"])
        #expect(try await node.exports().first?["trimmed"] == nil)
        let script = """
            h.set_strict_mode(0)
            h.zero(4096, 0)
            h.trim(8192, 4096)
            h.trim(4096, 65536)
            try: h.trim(4096, 1 << 20)
            except nbd.Error as e: print(e.errno)
            """
        let result = try await Command.run("nbdsh", "-u", node.uri(), "-c", script)
        #expect(result.output == "EINVAL\n", "\(result)")
        #expect(try await node.exports().first?["trimmed"] as? Int == 12288)
        #expect(try await node.stop() == 0)
    }
}
