import Foundation
import TestSupport
import Testing

/// Clients that people use, as separate programs.
@Suite(.timeLimit(.minutes(10))) struct RealClientTests {
    private let scratch = Scratch()

    @Test func nbdinfoListsAndMeasures() async throws {
        try await TestServer.run(size: 1_234_567) { test in
            let size = try await succeed("nbdinfo", "--size", test.uri)
            #expect(size == "1234567\n")
            let list = try await succeed("nbdinfo", "--list", "nbd+unix://?socket=\(test.socket)")
            for line in ["export=\"disk\"", "export-size: 1234567", "can_fua: true", "can_multi_conn: true"] {
                #expect(list.contains(line))
            }
            let unknown = try await Command.run("nbdinfo", "nbd+unix:///none?socket=\(test.socket)")
            #expect(unknown.status == 1 && !unknown.output.contains("1234567"))
            try await test.waitUntilIdle()
        }
    }

    @Test func nbdcopyCopiesBothWays() async throws {
        var random = Seeded.fresh()
        // Data, a hole and more data.
        let half = random.bytes(3 << 20)
        let bytes = half + [UInt8](repeating: 0, count: 5 << 20) + random.bytes(777)
        let source = try scratch.write(bytes, to: "source.raw")
        try await TestServer.run(size: bytes.count) { test in
            _ = try await succeed("nbdcopy", "--flush", source, test.uri)
            #expect(try test.image == bytes)
            let target = scratch.file("target.raw")
            _ = try await succeed("nbdcopy", test.uri, target)
            _ = try await succeed("cmp", source, target)
            try await test.waitUntilIdle()
        }
    }

    @Test func qemuConvertsAndCompares() async throws {
        var random = Seeded.fresh()
        let bytes = random.bytes(2 << 20) + [UInt8](repeating: 0, count: 6 << 20) + random.bytes(1 << 20)
        let source = try scratch.write(bytes, to: "source.raw")
        try await TestServer.run(size: bytes.count) { test in
            _ = try await succeed("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", source, test.uri)
            #expect(try test.image == bytes)
            _ = try await succeed("qemu-img", "compare", "-f", "raw", "-F", "raw", source, test.uri)
            let target = scratch.file("target.qcow2")
            _ = try await succeed("qemu-img", "convert", "-f", "raw", "-O", "qcow2", test.uri, target)
            _ = try await succeed("qemu-img", "compare", "-f", "qcow2", "-F", "raw", target, source)
        }
    }

    @Test func qemuIOReadsWritesAndDiscards() async throws {
        try await TestServer.run(contents: [UInt8](repeating: 1, count: 1 << 20)) { test in
            let output = try await succeed(
                "qemu-io", "-f", "raw", "-c", "write -P 2 1000 3000", "-c", "write -f -P 3 64k 64k",
                "-c", "read -P 2 1000 3000", "-c", "write -z -u 512k 64k", "-c", "discard 256k 64k",
                "-c", "read -P 0 512k 64k", "-c", "aio_write -P 4 900k 4k", "-c", "aio_flush", "-c", "flush",
                test.uri)
            #expect(!output.contains("failed") && !output.contains("rror"))
            let image = try test.image
            #expect(image[1000..<4000].allSatisfy { $0 == 2 } && image[4000] == 1 && image[999] == 1)
            #expect(image[64 << 10..<128 << 10].allSatisfy { $0 == 3 })
            #expect(image[512 << 10..<576 << 10].allSatisfy { $0 == 0 })
            #expect(image[900 << 10..<904 << 10].allSatisfy { $0 == 4 })
        }
    }

    @Test func libnbdSeesTheDiskAndTheErrors() async throws {
        try await TestServer.run(size: 1 << 20) { test in
            let output = try await succeed("nbdsh", "-u", test.uri, "-c", Self.script)
            #expect(output == "done\n")
            #expect(try test.image[4096..<4106] == Array("0123456789".utf8)[...])
            try await test.waitUntilIdle()
        }
    }

    @Test func fioVerifiesWhatItWrote() async throws {
        try await TestServer.run(size: 16 << 20) { test in
            let output = try await succeed(
                "fio", "--name=verify", "--ioengine=nbd", "--uri=\(test.uri)", "--rw=randrw",
                "--bsrange=512-128k",
                "--blockalign=512", "--iodepth=64", "--size=16m", "--verify=crc32c", "--verify_fatal=1",
                "--serialize_overlap=1", "--fsync=50", "--loops=2")
            #expect(output.contains("err= 0"))
            try await test.waitUntilIdle()
        }
    }

    /// Runs a program that must succeed, and returns its output.
    private func succeed(_ name: String, _ arguments: String...) async throws -> String {
        let result = try await Command.run(name, arguments)
        let (status, output) = (result.status, result.output + result.errors)
        guard status == 0 else { throw Unexpected("\(name) \(arguments) ended with \(status): \(output)") }
        return output
    }

    private static let script = """
        import errno, nbd
        assert h.get_size() == 1 << 20
        assert not h.is_read_only() and h.can_flush() and h.can_fua() and h.can_trim() and h.can_zero()
        assert h.get_block_size(nbd.SIZE_MAXIMUM) == 32 << 20
        h.pwrite(b"0123456789", 4096)
        assert h.pread(12, 4095) == b"\\0" + b"0123456789" + b"\\0"
        h.pwrite(b"x" * 65536, 131072, nbd.CMD_FLAG_FUA)
        h.flush()
        h.zero(4096, 131072, nbd.CMD_FLAG_FUA)
        h.zero(4096, 135168, nbd.CMD_FLAG_NO_HOLE)
        h.trim(4096, 139264, nbd.CMD_FLAG_FUA)
        assert h.pread(65536, 131072) == b"\\0" * 12288 + b"x" * (65536 - 12288)
        h.set_strict_mode(0)
        def fails(code, action):
            try:
                action()
            except nbd.Error as error:
                assert error.errnum == code, (error.errnum, code)
            else:
                assert False, code
        fails(errno.EINVAL, lambda: h.pread(2, (1 << 20) - 1))
        fails(errno.ENOSPC, lambda: h.pwrite(b"xx", (1 << 20) - 1))
        fails(errno.ENOSPC, lambda: h.zero(1 << 20, 1))
        fails(errno.EINVAL, lambda: h.trim(1 << 20, 1))
        fails(errno.EINVAL, lambda: h.pread(1, 0, nbd.CMD_FLAG_NO_HOLE))
        assert h.pread(1, 4096) == b"0"
        h.shutdown()
        print("done")
        """
}
