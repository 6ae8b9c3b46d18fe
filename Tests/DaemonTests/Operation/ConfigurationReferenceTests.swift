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

    private static let installed = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../../nbd-scripts/debian/etc/nearblock.conf").standardizedFileURL

    /// The words of each key in the file that the package installs, by section and key, in order.
    private func installedKeys() throws -> [(key: String, text: String)] {
        var (section, text) = ("", [String]())
        var keys: [(key: String, text: String)] = []
        for line in try String(contentsOf: Self.installed, encoding: .utf8).split(separator: "\n") {
            if let found = line.wholeMatch(of: /#?\[(node|export|domain)( \S+)?\]/) {
                section = found.2 == nil ? "node" : "\(found.1) NAME"
                text = []
            } else if let found = line.wholeMatch(of: /#([a-z-]+) = .+/) {
                keys.append(("[\(section)] \(found.1)", text.joined(separator: " ")))
                text = []
            } else if line.hasPrefix("## ") {
                text.append(String(line.dropFirst(3)))
            }
        }
        return keys
    }

    private func rows() throws -> [String] {
        try String(contentsOf: Self.document, encoding: .utf8).split(separator: "\n").map(String.init)
            .filter { $0.hasPrefix("| `") }
    }

    @Test("The document -> has the row of every key, in order, and no other")
    func rowsAreThose() throws {
        #expect(try rows() == KeyReference.all.map(\.markdown))
    }

    @Test(
        "The file that the package installs -> has every key and no other, and its words begin with the key's sentence")
    func installedFile() throws {
        let installed = try installedKeys()
        let known = KeyReference.all.map { (key: "[\($0.section)] \($0.name)", summary: $0.summary) }
        #expect(installed.map(\.key).sorted() == known.map(\.key).sorted())
        for (key, text) in installed {
            let summary =
                known.first { $0.key == key }?.summary.replacing("`", with: "").replacing("…", with: "...") ?? "none"
            #expect(text.hasPrefix(summary), "\(key): '\(text)' does not begin with '\(summary)'")
        }
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
                case "node":
                    key.name == "release"
                        ? "prepare = /bin/true\n"
                        : ["host", "site-address", "site-rate"].contains(key.name) ? "site = /mnt\n" : ""
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
