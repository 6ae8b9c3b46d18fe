import Foundation
import TestSupport
import Testing

@Suite("More disks than may arrive at once", .timeLimit(.minutes(10)))
struct ManyDisksTests {
    private let scratch = Scratch()

    @Test("A 17th arriving disk, alone or with another -> refused in one line; the others go on")
    func seventeen() async throws {
        var lines = ""
        for number in 1...17 {
            try scratch.makeImage("\(number).raw", megabytes: 1)
            lines += "[export d\(number)]\nimage = \(scratch.file("\(number).raw"))\n"
        }
        try Data(lines.utf8).write(to: URL(fileURLWithPath: scratch.file("source.conf")))
        let port = try FreePort.find()
        let destination = try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
        let source = try await NodeProcess(scratch.file("s"), ["--config", scratch.file("source.conf")])
        let to = ["--to", "127.0.0.1:\(port)"]
        func count(_ state: String) async throws -> Int {
            try await source.exports().count { $0["state"] as? String == state }
        }

        let names = (1...17).map { "d\($0)" }
        let together = try await source.ask(["migrate"] + names + to)
        #expect(together.status == 1)
        #expect(together.errors.contains("17 disks") && together.errors.contains("at most 16"), "\(together.errors)")
        #expect(together.errors.filter { $0 == "\n" }.count == 1)
        #expect(try await count("serving") == 17)

        for name in names.prefix(15) {
            #expect(try await source.ask(["migrate", name, "--switch", "manual", "--detach"] + to).status == 0)
        }
        try await waitUntil("15 wait") { try await count("waiting") == 15 }
        let pair = try await source.ask(["migrate", "d16", "d17"] + to)
        #expect(pair.status == 5 && pair.errors.contains("16 disks are arriving"), "\(pair.errors)")
        #expect(try await count("waiting") == 15)
        #expect(try await count("serving") == 2)

        try await waitUntil("there is a place") {
            let begun = try await source.ask(["migrate", "d16", "--switch", "manual", "--detach"] + to)
            try await waitUntil("it has been answered") {
                try await count("waiting") + count("serving") == 17
            }
            return begun.status == 0 ? try await count("waiting") == 16 : false
        }
        let last = try await source.ask(["migrate", "d17"] + to)
        #expect(last.status == 5 && last.errors.contains("16 disks are arriving"), "\(last.errors)")
        #expect(last.errors.filter { $0 == "\n" }.count == 1)
        #expect(try await count("waiting") == 16)

        for name in names.prefix(16) { #expect(try await source.ask(["switch", name]).status == 0) }
        try await waitUntil("16 have moved") { try await count("moved") == 16 }
        let now = try await source.ask(["migrate", "d17"] + to)
        #expect(now.status == 0, "\(now.errors)")
        for number in 1...17 {
            #expect(try scratch.data("images/d\(number).raw") == scratch.data("\(number).raw"))
        }
        #expect(try await source.stop() == 0)
        #expect(try await destination.stop() == 0)
    }
}
