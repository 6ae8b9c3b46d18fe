import Configuration
import Daemon
import Foundation
import TestSupport
import Testing

/// docs/configuration.md against the parser's own table of keys.
@Suite("The reference of configuration files")
struct ConfigurationReferenceTests {
    private static let document = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../../docs/configuration.md").standardizedFileURL

    private func rows() throws -> [String] {
        try String(contentsOf: Self.document, encoding: .utf8).split(separator: "\n").map(String.init)
            .filter { $0.hasPrefix("| `") }
    }

    @Test("The document -> has the row of every key, in order, and no other")
    func rowsAreThose() throws {
        #expect(try rows() == KeyReference.all.map(\.markdown))
    }

    @Test("A key -> says its form, its absence and one sentence")
    func complete() {
        for key in KeyReference.all {
            #expect(!key.form.isEmpty && !key.absent.isEmpty && key.summary.hasSuffix("."), "\(key.name)")
        }
        #expect(Set(KeyReference.all.map { "\($0.section) \($0.name)" }).count == KeyReference.all.count)
    }

    @Test("The example of each key -> accepted, each for itself")
    func examples() throws {
        let scratch = Scratch()
        for key in KeyReference.all {
            let line = "\(key.name) = \(key.example)\n"
            let section =
                switch key.section {
                case "node": key.name == "release" ? "prepare = /bin/true\n" : ""
                case "domain NAME": "[domain a]\n\(key.name == "prepare" ? "" : "prepare = /bin/true\n")"
                default: "[export a]\n\(key.name == "image" ? "" : "image = /x\n")"
                }
            let text = "[node]\n\(key.section == "node" && key.name == "tls" ? "" : "tls = /x\n")\(section)\(line)"
            let path = try scratch.write(Array(text.utf8), to: "n.conf")
            let check = ConfigurationCheck(
                path: path, looksAtFiles: false, onto: NodeConfiguration(state: "/x", defaultControl: nil))
            #expect(check.isUsable, "\(key.name): \(check.findings)")
        }
    }
}
