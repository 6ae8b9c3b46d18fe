import Foundation
import TestSupport
import Testing

@testable import MigrationProtocol

/// Invariant 5: an image is known by its identity, not by its path.
@Suite("Identity", .timeLimit(.minutes(10)))
struct IdentityTests {
    private static func section(_ name: String, _ image: String, _ rest: String = "") -> String {
        "[export \(name)]\nimage = \(image)\n\(rest)\n"
    }

    /// Two disks: `a` holds 0xaa and `b` holds 0xbb.
    private static func twoFiles(_ scratch: Scratch) throws -> String {
        try PatternedDisks.make(scratch.file("a.raw"), 0xaa)
        try PatternedDisks.make(scratch.file("b.raw"), 0xbb)
        return section("a", scratch.file("a.raw")) + section("b", scratch.file("b.raw"))
    }

    private static func swapFiles(_ scratch: Scratch) throws {
        for (from, to) in [("a.raw", "x"), ("b.raw", "a.raw"), ("x", "b.raw")] {
            try FileManager.default.moveItem(atPath: scratch.file(from), toPath: scratch.file(to))
        }
    }

    // MARK: Devices

    @Test(
        "Devices swap numbers after one has moved -> that one stays moved, the other is served",
        .enabled(if: LoopDevice.isPossible))
    func devicesSwapAfterMove() async throws {
        let devices = LoopDevice.reserveNumbers(2)
        let nodes = try await ConfiguredNodes { scratch in
            _ = try Self.twoFiles(scratch)
            try await LoopDevice.attach(scratch.file("a.raw"), to: devices[0])
            try await LoopDevice.attach(scratch.file("b.raw"), to: devices[1])
            return Self.section("one", devices[0]) + Self.section("two", devices[1])
        }
        #expect(try await nodes.migrate("one").status == 0)
        try await nodes.restartSource {
            for device in devices { try await LoopDevice.detach(device) }
            try await LoopDevice.attach(nodes.scratch.file("b.raw"), to: devices[0])
            try await LoopDevice.attach(nodes.scratch.file("a.raw"), to: devices[1])
        }
        #expect(try await nodes.state(of: "one") == "serving ")
        #expect(try await PatternedDisks.reads(nodes.source.uri("one"), 0xbb))
        #expect(try await PatternedDisks.write(nodes.source.uri("one"), 0xb1))
        #expect(try PatternedDisks.holds(nodes.scratch.file("d/images/one.raw"), 0xaa), "b's writes are b's")
        #expect(try await PatternedDisks.write(nodes.source.uri("two"), 0xa1))
        #expect(try PatternedDisks.holds(nodes.scratch.file("d/images/one.raw"), 0xa1), "a is where it has moved to")
        #expect(try PatternedDisks.holds(nodes.scratch.file("a.raw"), 0xaa))
        _ = try await nodes.source.stop()
        for device in devices { try await LoopDevice.detach(device) }
        #expect(try PatternedDisks.holds(nodes.scratch.file("b.raw"), 0xb1))
    }

    @Test(
        "Devices swap numbers during a migration -> the migrating disk goes on, not the other",
        .enabled(if: LoopDevice.isPossible))
    func devicesSwapInTheMiddle() async throws {
        let devices = LoopDevice.reserveNumbers(2)
        let nodes = try await ConfiguredNodes { scratch in
            _ = try Self.twoFiles(scratch)
            try scratch.makeImage("a.raw", megabytes: 1)
            try await LoopDevice.attach(scratch.file("a.raw"), to: devices[0])
            try await LoopDevice.attach(scratch.file("b.raw"), to: devices[1])
            return Self.section("one", devices[0]) + Self.section("two", devices[1])
        }
        #expect(try await nodes.beginSlowly("one"))
        try await nodes.restartSource {
            for device in devices { try await LoopDevice.detachUnused(device) }
            try await LoopDevice.attach(nodes.scratch.file("b.raw"), to: devices[0])
            try await LoopDevice.attach(nodes.scratch.file("a.raw"), to: devices[1])
        }
        try await waitUntil("a's migration goes on under its name now") {
            try await nodes.source.ask(["rate", "two"]).status == 0
        }
        try await waitUntil("a has moved") { try await nodes.state(of: "two").contains("moved") }
        #expect(try await nodes.state(of: "one") == "serving ")
        #expect(try await PatternedDisks.reads(nodes.source.uri("one"), 0xbb))
        #expect(try nodes.scratch.data("d/images/two.raw") == nodes.scratch.data("a.raw"))
        _ = try await nodes.source.stop()
        for device in devices { try await LoopDevice.detach(device) }
    }

    @Test(
        "Another device at the path of a moved one -> held back until the operator decides",
        .enabled(if: LoopDevice.isPossible), arguments: ["adopt", "disown"])
    func anotherDevice(_ verb: String) async throws {
        let device = LoopDevice.reserveNumbers(1)[0]
        let nodes = try await ConfiguredNodes { scratch in
            _ = try Self.twoFiles(scratch)
            try await LoopDevice.attach(scratch.file("a.raw"), to: device)
            return Self.section("one", device) + Self.section("other", scratch.file("c.raw"))
        }
        #expect(try await nodes.migrate("one").status == 0)
        try PatternedDisks.make(nodes.scratch.file("c.raw"), 0xcc)
        try await nodes.restartSource {
            try await LoopDevice.detach(device)
            try await LoopDevice.attach(nodes.scratch.file("b.raw"), to: device)
        }
        let state = try await nodes.state(of: "one")
        #expect(state.hasPrefix("held back"), "\(state)")
        #expect(state.contains("nearblock record adopt \(device)") && state.contains("moved-"), "\(state)")
        #expect(try await !PatternedDisks.reads(nodes.source.uri("one"), 0xbb))
        #expect(try await PatternedDisks.reads(nodes.source.uri("other"), 0xcc), "the others are served")
        let settled = try await Nearblock.run(["record", verb, device, "--state", nodes.state])
        #expect(settled.status == 0, "\(settled.errors)")
        try await nodes.reload()
        #expect(try await PatternedDisks.reads(nodes.source.uri("one"), verb == "adopt" ? 0xaa : 0xbb))
        try await nodes.restartSource()
        #expect(try await PatternedDisks.reads(nodes.source.uri("one"), verb == "adopt" ? 0xaa : 0xbb))
        _ = try await nodes.source.stop()
        try await LoopDevice.detach(device)
    }

    @Test(
        "A device without identity -> moves only after the operator has named it",
        .enabled(if: access("/dev/zram0", F_OK) == 0 && getuid() == 0))
    func namelessDevice() async throws {
        let size = "/sys/block/zram0/disksize"
        try #require((try? "1M".write(toFile: size, atomically: false, encoding: .utf8)) != nil)
        defer { try? "1".write(toFile: "/sys/block/zram0/reset", atomically: false, encoding: .utf8) }
        let nodes = try await ConfiguredNodes { _ in Self.section("z", "/dev/zram0") }
        #expect(try await PatternedDisks.write(nodes.source.uri("z"), 0x5a))
        let refused = try await nodes.migrate("z")
        #expect(refused.status == 1 && refused.errors.contains("identity = NAME"), "\(refused.errors)")
        try await nodes.reload(Self.section("z", "/dev/zram0", "identity = scratch disk"))
        let moved = try await nodes.migrate("z")
        #expect(moved.status == 0, "\(moved.errors)")
        try await nodes.restartSource()
        let state = try await nodes.state(of: "z")
        #expect(state.contains("moved") || state.contains("released"), "\(state)")
        _ = try await nodes.source.stop()
    }

    // MARK: Files

    @Test("A moved image in a renamed folder, or behind a bind mount -> stays moved", arguments: ["folder", "mount"])
    func elsewhere(_ kind: String) async throws {
        try #require(kind == "folder" || SmallFileSystem.isPossible)
        let nodes = try await ConfiguredNodes { scratch in
            mkdir(scratch.file("old"), 0o700)
            try PatternedDisks.make(scratch.file("old/a.raw"), 0xaa)
            return Self.section("a", scratch.file("old/a.raw"))
        }
        let new = nodes.scratch.file("new")
        #expect(try await nodes.migrate("a").status == 0)
        try await nodes.restartSource(Self.section("a", "\(new)/a.raw")) {
            if kind == "folder" {
                try FileManager.default.moveItem(atPath: nodes.scratch.file("old"), toPath: new)
            } else {
                mkdir(new, 0o700)
                _ = try await Command.run("/bin/mount", "--bind", nodes.scratch.file("old"), new)
            }
        }
        #expect(try await PatternedDisks.write(nodes.source.uri("a"), 0xa1))
        #expect(try PatternedDisks.holds("\(new)/a.raw", 0xaa), "the image that was left behind stays as it was")
        #expect(try PatternedDisks.holds(nodes.scratch.file("d/images/a.raw"), 0xa1))
        _ = try await nodes.source.stop()
        if kind == "mount" { _ = try await Command.run("/bin/umount", new) }
    }

    @Test(
        "A file replaced after its disk moved, or after a kill during that -> held back",
        arguments: [true, false])
    func replaced(_ hasMoved: Bool) async throws {
        let nodes = try await ConfiguredNodes(Self.twoFiles)
        let path = nodes.scratch.file("a.raw")
        if hasMoved {
            #expect(try await nodes.migrate("a").status == 0)
        } else {
            try await nodes.restartSource { try nodes.scratch.makeImage("a.raw", megabytes: 1) }
            #expect(try await nodes.beginSlowly("a"))
        }
        try await nodes.restartSource {
            unlink(path)
            try PatternedDisks.make(path, 0xcc)
        }
        let state = try await nodes.state(of: "a")
        #expect(state.hasPrefix("held back"), "\(state)")
        #expect(state.contains(hasMoved ? "moved-" : "migrating-") && state.contains("record disown"), "\(state)")
        #expect(try await !PatternedDisks.write(nodes.source.uri("a"), 0xc1))
        #expect(try PatternedDisks.holds(path, 0xcc))
        let migrated = try await nodes.migrate("a")
        #expect(migrated.status == 1 && migrated.errors.contains("record disown"), "\(migrated.errors)")
        #expect(try await Nearblock.run(["record", "disown", path, "--state", nodes.state]).status == 0)
        let again = try await Nearblock.run(["record", "disown", path, "--state", nodes.state])
        #expect(again.status == 1 && again.errors.contains("no record"), "\(again.errors)")
        try await nodes.reload()
        #expect(try await nodes.state(of: "a") == "serving ")
        #expect(try await PatternedDisks.write(nodes.source.uri("a"), 0xc1))
        #expect(try PatternedDisks.holds(path, 0xc1))
    }

    @Test("Files swap their names -> each keeps its own record")
    func filesSwap() async throws {
        let nodes = try await ConfiguredNodes(Self.twoFiles)
        #expect(try await nodes.migrate("a").status == 0)
        try await nodes.restartSource { try Self.swapFiles(nodes.scratch) }
        #expect(try await nodes.state(of: "a") == "serving ")
        #expect(try await PatternedDisks.reads(nodes.source.uri("a"), 0xbb))
        #expect(try await PatternedDisks.write(nodes.source.uri("b"), 0xa1))
        #expect(try PatternedDisks.holds(nodes.scratch.file("b.raw"), 0xaa))
        // The other file moves too, from the path that the first record named; both records must stay.
        let second = try await nodes.migrate("a")
        #expect(second.status == 5 && second.errors.contains("already"), "\(second.errors)")
        try await nodes.restartSource(
            Self.section("c", nodes.scratch.file("a.raw")) + Self.section("b", nodes.scratch.file("b.raw")))
        #expect(try await nodes.migrate("c").status == 0)
        try await nodes.restartSource()
        #expect(try await PatternedDisks.reads(nodes.source.uri("b"), 0xa1))
        #expect(try await PatternedDisks.reads(nodes.source.uri("c"), 0xbb))
        #expect(try await PatternedDisks.write(nodes.source.uri("c"), 0xb1))
        #expect(try PatternedDisks.holds(nodes.scratch.file("a.raw"), 0xbb))
    }

    @Test(
        "An overlay with new inode numbers after a remount -> held back until the operator adopts it",
        .enabled(if: SmallFileSystem.isPossible))
    func overlay() async throws {
        let nodes = try await ConfiguredNodes { scratch in
            for folder in ["lower", "upper", "work", "merged"] { mkdir(scratch.file(folder), 0o700) }
            try PatternedDisks.make(scratch.file("lower/a.raw"), 0xaa)
            try await Self.mountOverlay(scratch, "uuid=on")
            return Self.section("a", scratch.file("merged/a.raw"))
        }
        let path = nodes.scratch.file("merged/a.raw")
        #expect(try await nodes.migrate("a").status == 0)
        try await nodes.restartSource {
            _ = try await Command.run("/bin/umount", nodes.scratch.file("merged"))
            try await Self.mountOverlay(nodes.scratch, "uuid=on")
        }
        #expect(try await PatternedDisks.write(nodes.source.uri("a"), 0xa1), "a remount that changes nothing")
        #expect(try PatternedDisks.holds(nodes.scratch.file("d/images/a.raw"), 0xa1))
        try await nodes.restartSource(
            Self.section("a", path) + Self.section("b", nodes.scratch.file("other.raw"))
        ) {
            _ = try await Command.run("/bin/umount", nodes.scratch.file("merged"))
            try await Self.mountOverlay(nodes.scratch, "uuid=null")
            try PatternedDisks.make(nodes.scratch.file("other.raw"), 0xbb)
        }
        #expect(try await nodes.state(of: "a").hasPrefix("held back"))
        #expect(try await Nearblock.run(["record", "adopt", path, "--state", nodes.state]).status == 0)
        try await nodes.reload()
        #expect(try await PatternedDisks.reads(nodes.source.uri("a"), 0xa1), "it is where it has moved to")
        _ = try await nodes.source.stop()
        _ = try await Command.run("/bin/umount", nodes.scratch.file("merged"))
    }

    private static func mountOverlay(_ scratch: Scratch, _ options: String) async throws {
        let folders =
            "lowerdir=\(scratch.file("lower")),upperdir=\(scratch.file("upper")),workdir=\(scratch.file("work"))"
        let result = try await Command.run(
            "/bin/mount", "-t", "overlay", "nearblock-test", "-o", "\(folders),\(options)", scratch.file("merged"))
        #expect(result.status == 0, "\(result.errors)")
    }

    // MARK: The destination

    @Test("A renamed images folder -> the arrived disk is served; a replaced file -> it is not")
    func destinationImages() async throws {
        let nodes = try await ConfiguredNodes(Self.twoFiles)
        #expect(try await nodes.migrate("a").status == 0)
        let renamed = nodes.scratch.file("d/renamed")
        try await nodes.restartDestination(renamed) {
            try FileManager.default.moveItem(atPath: nodes.scratch.file("d/images"), toPath: renamed)
        }
        #expect(try await PatternedDisks.write(nodes.source.uri("a"), 0xa1))
        #expect(try PatternedDisks.holds("\(renamed)/a.raw", 0xa1))
        try await nodes.restartDestination(renamed) {
            unlink("\(renamed)/a.raw")
            try PatternedDisks.make("\(renamed)/a.raw", 0xcc)
        }
        let state = try await nodes.stateThere(of: "a")
        #expect(state.hasPrefix("held back") && state.contains("record adopt"), "\(state)")
        #expect(try await !PatternedDisks.reads(nodes.destination.uri("a"), 0xcc))
        let adopted = try await Nearblock.run(
            ["record", "adopt", "\(renamed)/a.raw", "--state", "\(nodes.destination.folder)/state"])
        #expect(adopted.status == 0, "\(adopted.errors)")
        try await nodes.restartDestination(renamed)
        #expect(try await PatternedDisks.reads(nodes.source.uri("a"), 0xcc))
    }

    @Test("An image with missing blocks -> not served as a whole one")
    func unfinishedImage() async throws {
        let nodes = try await ConfiguredNodes { scratch in
            try scratch.makeImage("a.raw", megabytes: 4)
            return Self.section("a", scratch.file("a.raw"))
        }
        #expect(try await nodes.migrate("a", ["--switch", "now", "--rate", "100K", "--detach"]).status == 0)
        try await waitUntil("it is switched over") { try await nodes.stateThere(of: "a").hasPrefix("active") }
        try await nodes.destination.kill()
        let served = try await Nearblock.run([
            "serve", nodes.scratch.file("d/images/a.raw"), "--socket", nodes.scratch.file("x.sock"), "--state",
            "\(nodes.destination.folder)/state", "--control", nodes.scratch.file("x.control"), "--run", "true",
        ])
        #expect(served.status == 1 && served.errors.contains("blocks of it are missing"), "\(served)")
    }

    // MARK: One image, several exports

    @Test("Several exports of one image -> all move with it, also after a restart")
    func severalExports() async throws {
        let nodes = try await ConfiguredNodes { scratch in
            try PatternedDisks.make(scratch.file("a.raw"), 0xaa)
            symlink(scratch.file("a.raw"), scratch.file("link.raw"))
            return Self.section("a", scratch.file("a.raw"))
                + Self.section("backup", scratch.file("a.raw"), "read-only = true")
                + Self.section("link", scratch.file("link.raw"), "read-only = true")
        }
        let refused = try await nodes.migrate("backup")
        #expect(refused.status == 1, "\(refused.errors)")
        // This client was connected before, and reads again afterwards.
        let script = """
            import sys
            print(h.pread(1, 0)[0], flush=True)
            sys.stdin.readline()
            print(h.pread(1, 0)[0], flush=True)
            """
        let command =
            "mkfifo \(nodes.scratch.file("go")); nbdsh -u '\(nodes.source.uri("backup"))' -c '\(script)'"
            + " <\(nodes.scratch.file("go")) >\(nodes.scratch.file("reads"))"
        let reader = Task { try await Command.run("bash", "-c", command) }
        let go = try await onThread { [path = nodes.scratch.file("go")] in
            while access(path, F_OK) != 0 { usleep(10_000) }
            return open(path, O_WRONLY)
        }
        try await waitUntil("it has read once") {
            (try? String(contentsOfFile: nodes.scratch.file("reads"), encoding: .utf8)) == "170\n"
        }
        #expect(try await nodes.migrate("a").status == 0)
        #expect(try await PatternedDisks.write(nodes.source.uri("a"), 0xa1))
        for name in ["a", "backup", "link"] {
            #expect(try await PatternedDisks.reads(nodes.source.uri(name), 0xa1), "\(name)")
            #expect(try await !nodes.state(of: name).contains("serving"), "\(name)")
        }
        _ = write(go, "\n", 1)
        close(go)
        _ = try await reader.value
        #expect(try nodes.scratch.contents("reads") == Array("170\n161\n".utf8), "an old connection reads no old bytes")
        try await nodes.restartSource()
        #expect(try await PatternedDisks.write(nodes.source.uri("a"), 0xa2))
        for name in ["a", "backup", "link"] {
            #expect(try await PatternedDisks.reads(nodes.source.uri(name), 0xa2), "\(name)")
        }
        try await nodes.reload(
            Self.section("a", nodes.scratch.file("a.raw"))
                + Self.section("later", nodes.scratch.file("a.raw"), "read-only = true"))
        #expect(try await PatternedDisks.reads(nodes.source.uri("later"), 0xa2))
        #expect(try await PatternedDisks.write(nodes.source.uri("a"), 0xa3), "both go on over one link")
        #expect(try await PatternedDisks.reads(nodes.source.uri("later"), 0xa3))
    }

    @Test("A new export of a migrating image -> offered after the migration")
    func addedMeanwhile() async throws {
        let nodes = try await ConfiguredNodes { scratch in
            try scratch.makeImage("a.raw", megabytes: 2)
            return Self.section("a", scratch.file("a.raw"))
        }
        #expect(try await nodes.beginSlowly("a"))
        let both =
            Self.section("a", nodes.scratch.file("a.raw"))
            + Self.section("backup", nodes.scratch.file("a.raw"), "read-only = true")
        try await nodes.reload(both)
        #expect(try await nodes.state(of: "backup").hasPrefix("held back"))
        #expect(try await nodes.source.ask(["cancel", "a"]).status == 0)
        try await waitUntil("it is served") { try await nodes.state(of: "a") == "serving " }
        try await nodes.reload()
        #expect(try await nodes.state(of: "backup") == "serving ")
    }

    // MARK: Disks that come back

    @Test(
        "The old image was deleted or replaced -> a disk does not come back into it", arguments: [true, false])
    func baseGone(_ isReplaced: Bool) async throws {
        let nodes = try await ConfiguredNodes(Self.twoFiles)
        let path = nodes.scratch.file("a.raw")
        #expect(try await nodes.migrate("a").status == 0)
        try FileManager.default.moveItem(atPath: path, toPath: nodes.scratch.file("kept"))
        if isReplaced { try PatternedDisks.make(path, 0xcc) }
        #expect(try await nodes.moveBack("a").status == 5)
        #expect(nodes.source.messages.contains("a can't come back"), "\(nodes.source.messages)")
        #expect(try await PatternedDisks.write(nodes.destination.uri("a"), 0xa1))
        #expect(try PatternedDisks.holds(nodes.scratch.file("d/images/a.raw"), 0xa1))
        if isReplaced { unlink(path) }
        try FileManager.default.moveItem(atPath: nodes.scratch.file("kept"), toPath: path)
        let back = try await nodes.moveBack("a")
        #expect(back.status == 0, "\(back.errors)")
        #expect(try PatternedDisks.holds(path, 0xa1))
    }

    @Test(
        "A disk came back into an image with several exports -> all are served; none moves before it is whole"
    )
    func returnedSiblings() async throws {
        let nodes = try await ConfiguredNodes { scratch in
            try scratch.makeImage("a.raw", megabytes: 2)
            return Self.section("a", scratch.file("a.raw"))
                + Self.section("backup", scratch.file("a.raw"), "read-only = true")
        }
        #expect(try await nodes.migrate("a").status == 0)
        var random = Seeded.fresh()
        let new = try nodes.scratch.write(random.bytes(2 << 20), to: "new")
        #expect(try await Command.run("nbdcopy", new, nodes.destination.uri("a")).status == 0)
        let back = try await nodes.moveBack("a", ["--switch", "now", "--rate", "100K", "--detach"])
        #expect(back.status == 0, "\(back.errors)")
        try await waitUntil("it is here") { try await nodes.state(of: "a").hasPrefix("active") }
        let early = try await nodes.migrate("backup")
        #expect(early.status == 1, "\(early)")
        try await nodes.restartSource()
        try await waitUntil("it is taken up again") { try await nodes.state(of: "a").hasPrefix("active") }
        let block = "print(h.pread(4096, 0) == open('\(new)', 'rb').read(4096))"
        for name in ["a", "backup"] {
            let result = try await Command.run("nbdsh", "-u", nodes.source.uri(name), "-c", block)
            #expect(result.output == "True\n", "\(name): \(result)")
        }
        #expect(try await nodes.migrate("backup").status == 1)
        #expect(try await nodes.destination.ask(["rate", "a"]).status == 0)
        try await waitUntil("it is whole") { try await nodes.state(of: "a").hasPrefix("serving") }
        for name in ["a", "backup"] {
            let copy = nodes.scratch.file("copy-\(name)")
            #expect(try await Command.run("nbdcopy", nodes.source.uri(name), copy).status == 0)
            #expect(try nodes.scratch.contents("copy-\(name)") == nodes.scratch.contents("new"), "\(name)")
        }
    }

    // MARK: Copies, and other paths to a file

    @Test("A file and its copy on a cloned file system -> two disks", .enabled(if: LoopDevice.isPossible))
    func clonedFileSystem() async throws {
        let devices = LoopDevice.reserveNumbers(2)
        let nodes = try await ConfiguredNodes { scratch in
            mkdir(scratch.file("tree"), 0o700)
            try PatternedDisks.make(scratch.file("tree/d.raw"), 0xaa)
            truncate(try scratch.write([], to: "fs1"), 32 << 20)
            let made = try await Command.run(
                "/sbin/mkfs.ext4", "-q", "-F", "-d", scratch.file("tree"), scratch.file("fs1"))
            #expect(made.status == 0, "\(made.errors)")
            try FileManager.default.copyItem(atPath: scratch.file("fs1"), toPath: scratch.file("fs2"))
            var sections = ""
            for (number, device) in devices.enumerated() {
                let folder = scratch.file("m\(number + 1)")
                mkdir(folder, 0o700)
                try await LoopDevice.attach(scratch.file("fs\(number + 1)"), to: device)
                #expect(try await Command.run("/bin/mount", device, folder).status == 0)
                sections += Self.section("d\(number + 1)", "\(folder)/d.raw")
            }
            return sections
        }
        #expect(try await nodes.migrate("d1").status == 0)
        try await nodes.restartSource()
        #expect(try await nodes.state(of: "d2") == "serving ")
        #expect(try await PatternedDisks.write(nodes.source.uri("d2"), 0xbb))
        #expect(try PatternedDisks.holds(nodes.scratch.file("d/images/d1.raw"), 0xaa), "d2's writes are d2's")
        #expect(try await nodes.migrate("d2").status == 0)
        try await nodes.restartSource()
        #expect(try await PatternedDisks.reads(nodes.source.uri("d1"), 0xaa))
        #expect(try await PatternedDisks.reads(nodes.source.uri("d2"), 0xbb))
        _ = try await nodes.source.stop()
        for (number, device) in devices.enumerated() {
            _ = try await Command.run("/bin/umount", nodes.scratch.file("m\(number + 1)"))
            try await LoopDevice.detach(device)
        }
    }

    @Test(
        "A moved file through a loop device -> not served silently",
        .enabled(if: LoopDevice.isPossible))
    func fileThroughLoop() async throws {
        let device = LoopDevice.reserveNumbers(1)[0]
        let nodes = try await ConfiguredNodes(Self.twoFiles)
        #expect(try await nodes.migrate("a").status == 0)
        try await LoopDevice.attach(nodes.scratch.file("a.raw"), to: device)
        try await nodes.restartSource(
            Self.section("loop", device) + Self.section("b", nodes.scratch.file("b.raw")))
        #expect(try await nodes.state(of: "loop").hasPrefix("held back"))
        _ = try await nodes.source.stop()
        try await LoopDevice.detach(device)
    }

    @Test("The name of an export that is held back -> refused for an arriving disk")
    func heldBackName() async throws {
        let nodes = try await ConfiguredNodes { scratch in
            try Self.twoFiles(scratch) + Self.section("c", scratch.file("c.raw"))
        }
        try PatternedDisks.make(nodes.scratch.file("other.raw"), 0xcc)
        let other = try await NodeProcess(nodes.scratch.file("o"), [nodes.scratch.file("other.raw"), "--export", "c"])
        let refused = try await other.ask(["migrate", "c", "--to", "127.0.0.1:\(nodes.sourcePort)"])
        #expect(refused.status == 5 && refused.errors.contains("'c'"), "\(refused)")
        #expect(try await nodes.state(of: "c").hasPrefix("held back"))
        let records = try await Nearblock.run(["record", "list", "--json", "--state", "\(other.folder)/state"])
        #expect(!records.output.contains("attempt"), "nothing came of it: \(records.output)")
        #expect(try await other.stop() == 0)
    }

    // MARK: Missing images

    @Test("A missing image -> the others are served; SIGHUP serves it when it exists")
    func missing() async throws {
        let nodes = try await ConfiguredNodes { scratch in
            try Self.twoFiles(scratch) + Self.section("c", scratch.file("c.raw"))
        }
        #expect(try await PatternedDisks.reads(nodes.source.uri("b"), 0xbb))
        let state = try await nodes.state(of: "c")
        #expect(state.contains("held back") && state.contains("No such file"), "\(state)")
        #expect(nodes.source.messages.contains("c is not offered"))
        try await nodes.reload()
        #expect(try await nodes.state(of: "c").contains("held back"))
        try PatternedDisks.make(nodes.scratch.file("c.raw"), 0xcc)
        try await nodes.reload()
        #expect(try await PatternedDisks.reads(nodes.source.uri("c"), 0xcc))
        #expect(try await nodes.state(of: "c") == "serving ")
    }

    @Test("A changed key that needs a restart -> named at SIGHUP, and only then")
    func fixedKeys() async throws {
        let nodes = try await ConfiguredNodes(Self.twoFiles)
        try await nodes.reload()
        #expect(!nodes.source.messages.contains("takes effect only"))
        let keys = "[node]\nkeep-index = 60s\nindex = \(nodes.scratch.file("index"))\n"
        try await nodes.reload(
            keys + Self.section("a", nodes.scratch.file("a.raw")) + Self.section("b", nodes.scratch.file("b.raw")))
        for key in ["index", "keep-index"] {
            #expect(nodes.source.messages.contains("\(key) has changed, which takes effect only"), "\(key)")
        }
        #expect(!nodes.source.messages.contains("images has changed"))
    }
}
