import TestSupport
import Testing

@testable import MigrationCore

/// `NEARBLOCK_QEMU` names another QEMU than the one that is installed.
@Suite("Streams of a real QEMU", .enabled(if: QEMUMigration.isPossible), .timeLimit(.minutes(5)))
struct QEMUProcessTests {
    private typealias Setting = QEMUMigration.Setting

    private static let dimm = ["-object", "memory-backend-ram,id=m1,size=16M", "-device", "pc-dimm,memdev=m1"]
    private static let slots = ["-m", "16,slots=1,maxmem=1G"]
    private static let devices = [
        "-device", "qemu-xhci", "-device", "virtio-net-pci", "-device", "virtio-scsi-pci", "-device", "e1000",
        "-device", "VGA",
    ]
    fileprivate static let settings = [
        Setting(name: "plain", usesSocket: false), Setting(name: "socket"),
        Setting(name: "devices", arguments: devices),
        Setting(name: "two blocks", arguments: slots + dimm),
        Setting(name: "return path", capabilities: ["return-path"]),
        Setting(name: "xbzrle", capabilities: ["xbzrle"], usesSocket: false),
        Setting(name: "compress", capabilities: ["compress"], usesSocket: false),
        Setting(name: "post-copy may follow", capabilities: ["postcopy-ram"]),
        Setting(
            name: "post-copy", capabilities: ["postcopy-ram"], parameters: ["max-bandwidth": 1 << 20],
            startsPostcopy: true),
        Setting(
            name: "post-copy with preemption", capabilities: ["postcopy-ram", "postcopy-preempt"],
            parameters: ["max-bandwidth": 1 << 20], startsPostcopy: true),
        Setting(name: "x-ignore-shared", capabilities: ["x-ignore-shared"], arguments: dimm, usesSocket: false),
        Setting(name: "multifd", capabilities: ["multifd"], parameters: ["multifd-channels": 3]),
    ]

    @Test("A small guest in any setting -> nearly all pages are found", arguments: settings)
    func findsPages(setting: QEMUMigration.Setting) async throws {
        var random = Seeded.fresh()
        guard let migration = try await QEMUMigration.run(setting, &random) else { return }
        let parsed = migration.streams.map { ParsedStream($0) }
        for channel in parsed { #expect(channel.problem == nil) }
        #expect(parsed.contains { $0.stage == .postCopy } == setting.startsPostcopy)
        if setting.capabilities.contains("postcopy-preempt") {
            // The other channel may have had no page to carry.
            #expect(parsed.allSatisfy { $0.stage != .preCopy || $0.pages == 0 })
        }
        let pages = parsed.reduce(0) { $0 + $1.pages }
        let zeroPages = parsed.reduce(0) { $0 + $1.count(.zeroPage) }
        print(
            "\(setting.name): \(pages) of \(migration.pages) pages, \(zeroPages) of \(migration.zeroPages) zero pages")
        #expect(pages * 100 >= migration.pages * 95)
        // Since QEMU 9.0, zero pages are only numbers in multifd's packets.
        if !setting.hasMultifd { #expect(zeroPages * 100 >= migration.zeroPages * 95) }
        if setting.sendsAllPages {
            #expect((migration.pages + migration.zeroPages) * StreamPart.pageBytes >= QEMUMigration.memoryBytes)
        }
        #expect(parsed.count >= (setting.hasMultifd ? 4 : 1))
    }

    @Test("Compressed multifd -> a problem for each channel of pages")
    func compressedMultifd() async throws {
        var random = Seeded.fresh()
        let setting = Setting(
            name: "zlib", capabilities: ["multifd"], choices: ["multifd-compression": "zlib"])
        guard let migration = try await QEMUMigration.run(setting, &random) else { return }
        let problems = migration.streams.map { ParsedStream($0).problem }
        #expect(problems.count { $0 == "multifd-compression is on (zlib)" } == 2)
        #expect(problems.count { $0 == nil } == 1)
    }

    @Test("Pieces, waits and damage -> all is covered, and pages do not depend on pieces")
    func pieces() async throws {
        var random = Seeded.fresh()
        let setting = Setting(name: "multifd", capabilities: ["multifd"])
        guard let migration = try await QEMUMigration.run(setting, &random) else { return }
        for stream in migration.streams {
            let whole = ParsedStream(stream)
            for _ in 0..<3 {
                #expect(ParsedStream(stream, sizes: { Int.random(in: 1...100_000, using: &random) }) == whole)
            }
            for _ in 0..<10 {
                var damaged = stream
                for _ in 0..<3 { Mutation.apply(&damaged, &random) }
                _ = ParsedStream(
                    damaged, sizes: { Int.random(in: 1...100_000, using: &random) }, waits: { _ in random.chance(30) })
            }
        }
    }
}
