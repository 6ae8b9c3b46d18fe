import TestSupport
import Testing

@Suite("Names and descriptions too long for clients")
struct LongStringTests {
    @Test("More than 4096 bytes -> the start fails with one line", arguments: ["--export", "--description"])
    func refused(option: String) async throws {
        let scratch = Scratch()
        let image = try scratch.hole(1 << 20, "disk.raw")
        func serve(_ length: Int) async throws -> Command.Result {
            try await Nearblock.run([
                "serve", image, option, String(repeating: "x", count: length), "--state", scratch.file("state"),
                "--run",
                "nbdinfo --list \"$uri\" > /dev/null",
            ])
        }
        #expect(try await serve(4096).status == 0)
        let refused = try await serve(4097)
        #expect(refused.status == 1 && refused.errors.contains("4096"), "\(refused)")
        #expect(refused.errors.split(separator: "\n").count == 1, "\(refused.errors)")
    }
}
