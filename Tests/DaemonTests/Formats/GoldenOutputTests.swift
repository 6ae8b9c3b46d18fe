import Foundation
import TestSupport
import Testing

/// Golden output of `--json`: the outer keys. `GoldenReportTests`, `GoldenControlTests` and `GoldenIndexFileTests`
/// cover their contents.
@Suite("Golden: JSON on standard output", .timeLimit(.minutes(10)))
struct GoldenOutputTests {
    private let scratch = Scratch()

    /// Returns the keys of one object in a line.
    private func keys(_ arguments: [String]) async throws -> [String: Any] {
        let result = try await Nearblock.run(arguments)
        #expect(result.status == 0 && result.output.filter { $0 == "\n" }.count == 1, "\(arguments): \(result)")
        return try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
    }

    @Test("The index commands")
    func index() async throws {
        let image = try scratch.write([UInt8](repeating: 7, count: 8192), to: "a.raw")
        let index = ["--index", scratch.file("index"), "--json"]
        let neighbour: Set = [
            "blocks", "distinct", "domain", "identity", "name", "size", "tableBytes", "tableFile", "zero",
        ]
        let added = try await keys(["index", "add", image] + index)
        #expect(Set(added.keys) == neighbour)
        let list = try await keys(["index", "list"] + index)
        #expect(Set(list.keys) == ["neighbours"])
        #expect((list["neighbours"] as? [[String: Any]])?.map { Set($0.keys) } == [neighbour])
        let similarity = try await keys(["index", "similarity", image] + index)
        #expect(Set(similarity.keys) == ["block", "blocks", "distinct", "found", "neighbours", "zero"])
        let stats = try await keys(["index", "stats"] + index)
        #expect(
            Set(stats.keys) == [
                "block", "blocks", "catalogueBytes", "catalogues", "distinct", "neighbours", "problems", "tableBytes",
                "zero",
            ])
        #expect(try await keys(["index", "verify"] + index)["problems"] as? [String] == [])
        #expect(try await keys(["index", "remove", image] + index)["removed"] as? [String] == [image])
    }

    @Test("nearblock record list, the whole line")
    func records() async throws {
        let record = """
            {"birthTime":8,"destination":{"host":"::1","port":7},"export":"disk","image":{"identity":{"file":{"birthTime":8,
            "fileSystem":{"uuid":"0f"},"inode":42},"size":512},"path":"/a.raw"},"inode":42,"migration":{"high":1,"low":2},
            "root":""}
            """
        let file = try scratch.write(Array(record.utf8), to: "moved-x.json")
        let result = try await Nearblock.run(["record", "list", "--json", "--state", scratch.path])
        let line =
            #"{"records":[{"destination":"::1:7","export":"disk","file":"\#(file)","#
            + #""image":"inode 42 of file system 0f","kind":"moved","path":"/a.raw"}]}"#
        #expect(result.output == line + "\n", "\(result)")
    }

    @Test("nearblock status, the whole line")
    func status() async throws {
        let image = try scratch.write([UInt8](repeating: 7, count: 8192), to: "a.raw")
        let node = try await NodeProcess(scratch.file("node"), [image, "--export", "disk"])
        let result = try await node.ask(["status", "--json"])
        #expect(
            result.output
                == #"{"arriving":[],"exports":[{"clients":0,"condition":"serving","export":"disk","readOnly":false,"size":8192,"#
                + #""state":"serving"}],"version":1}"# + "\n",
            "\(result)")
    }
}
