import Foundation
import Ring
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct SubmissionTests {
    private let scratch = Scratch()

    @Test func writtenBytesAreReadBack() async throws {
        let file = try openFile()
        defer { close(file) }
        var random = Seeded.fresh()
        let written = Memory(random.bytes(70_001))
        let read = Memory([UInt8](repeating: 0, count: 70_001))
        try await withLoop { loop in
            let put = await AwaitedOperation.result(on: loop) {
                loop.write(file, from: written.base, count: 70_001, at: 12_345, flags: 0, $0)
            }
            #expect(put == 70_001)
            let got = await AwaitedOperation.result(on: loop) {
                loop.read(file, into: read.base, count: 70_001, at: 12_345, $0)
            }
            #expect(got == 70_001)
        }
        #expect(read.contents == written.contents)
        #expect(try scratch.contents("file").suffix(70_001) == written.contents[...])
        #expect(try scratch.contents("file").count == 12_345 + 70_001)
    }

    @Test func readsAreShortAtTheEndOfTheFile() async throws {
        let file = try openFile([1, 2, 3])
        defer { close(file) }
        let memory = Memory([9, 9, 9, 9, 9])
        try await withLoop { loop in
            let short = await AwaitedOperation.result(on: loop) {
                loop.read(file, into: memory.base, count: 5, at: 1, $0)
            }
            #expect(short == 2 && memory.contents == [2, 3, 9, 9, 9])
            let beyond = await AwaitedOperation.result(on: loop) {
                loop.read(file, into: memory.base, count: 5, at: 3, $0)
            }
            #expect(beyond == 0)
        }
    }

    @Test func filesAreSynchronizedAndAllocated() async throws {
        let file = try openFile([1, 2, 3])
        defer { close(file) }
        try await withLoop { loop in
            let synchronized = await AwaitedOperation.result(on: loop) { loop.synchronize(file, $0) }
            #expect(synchronized == 0)
            let grown = await AwaitedOperation.result(on: loop) {
                loop.allocate(file, mode: 0, at: 0, length: 100_000, $0)
            }
            #expect(grown == 0)
        }
        let contents = try scratch.contents("file")
        #expect(contents.count == 100_000)
        #expect(contents.prefix(4) == [1, 2, 3, 0] && contents[4...].max() == 0)
    }

    @Test func failuresCompleteWithNegatedErrno() async throws {
        let file = try openFile([1, 2, 3])
        defer { close(file) }
        let readOnly = open(scratch.file("file"), O_RDONLY)
        defer { close(readOnly) }
        let memory = Memory([0])
        try await withLoop { loop in
            let written = await AwaitedOperation.result(on: loop) {
                loop.write(readOnly, from: memory.base, count: 1, at: 0, flags: 0, $0)
            }
            #expect(written == -EBADF)
            let closed = await AwaitedOperation.result(on: loop) {
                loop.read(-1, into: memory.base, count: 1, at: 0, $0)
            }
            #expect(closed == -EBADF)
            let flagged = await AwaitedOperation.result(on: loop) {
                loop.write(file, from: memory.base, count: 1, at: 0, flags: 1 << 30, $0)
            }
            #expect(flagged == -EOPNOTSUPP || flagged == -EINVAL)
            let synchronized = await AwaitedOperation.result(on: loop) { loop.synchronize(-1, $0) }
            #expect(synchronized == -EBADF)
            let allocated = await AwaitedOperation.result(on: loop) {
                loop.allocate(readOnly, mode: 0, at: 0, length: 1, $0)
            }
            #expect(allocated == -EBADF)
            let accepted = await AwaitedOperation.result(on: loop) { loop.accept(file, $0) }
            #expect(accepted == -ENOTSOCK)
        }
    }

    @Test(arguments: [511, 512, 513, 20_000])
    func moreOperationsThanEntriesAllComplete(count: Int) async throws {
        let file = try openFile((0..<count).flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] })
        defer { close(file) }
        let memory = Memory([UInt8](repeating: 0xee, count: 2 * count))
        let log = Log()
        try await withLoop { loop in
            await withCheckedContinuation { continuation in
                loop.post {
                    for number in 0..<count {
                        AwaitedOperation.start {
                            loop.read(
                                file, into: memory.base + 2 * number, count: 2, at: UInt64(2 * number), $0)
                        } ended: { result in
                            log.append(Int(result))
                            if log.all.count == count { continuation.resume() }
                        }
                    }
                }
            }
        }
        #expect(log.all == [Int](repeating: 2, count: count))
        #expect(try memory.contents == scratch.contents("file"))
    }

    @Test func socketsSendReceiveAllAndReportAHangUp() async throws {
        let (one, other) = try socketPair()
        var random = Seeded.fresh()
        let sent = Memory(random.bytes(3 << 20))
        let received = Memory([UInt8](repeating: 0, count: 3 << 20))
        try await withLoop { loop in
            async let arrived = AwaitedOperation.result(on: loop) {
                loop.receive(other, into: received.base, count: 3 << 20, waitForAll: true, $0)
            }
            let left = await AwaitedOperation.result(on: loop) {
                loop.send(one, from: sent.base, count: 3 << 20, $0)
            }
            #expect(left == 3 << 20)
            #expect(await arrived == 3 << 20)
            close(one)
            let end = await AwaitedOperation.result(on: loop) {
                loop.receive(other, into: received.base, count: 1, $0)
            }
            #expect(end == 0)
            let broken = await AwaitedOperation.result(on: loop) {
                loop.send(other, from: sent.base, count: 1, $0)
            }
            #expect(broken == -EPIPE)
        }
        close(other)
        #expect(sent.contents == received.contents)
    }

    @Test func aCancelledOperationCompletes() async throws {
        let (one, other) = try socketPair()
        defer {
            close(one)
            close(other)
        }
        let memory = Memory([0])
        try await withLoop { loop in
            let result = await AwaitedOperation.result(on: loop) {
                loop.receive(one, into: memory.base, count: 1, $0)
                loop.cancel($0)
            }
            #expect(result == -ECANCELED)
        }
    }

    private func openFile(_ bytes: [UInt8] = []) throws -> CInt {
        let file = open(try scratch.write(bytes, to: "file"), O_RDWR)
        try #require(file >= 0)
        return file
    }

    private func socketPair() throws -> (CInt, CInt) {
        var pair: [CInt] = [-1, -1]
        try #require(socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &pair) == 0)
        return (pair[0], pair[1])
    }
}
