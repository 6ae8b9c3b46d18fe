import Foundation
import TestSupport
import Testing

@testable import Index

/// Neighbours on another NBD server, which is nbdkit.
@Suite(.timeLimit(.minutes(10))) struct RemoteNeighbourTests {
    /// An nbdkit process that ends with the test.
    private final class Server {
        let uri: String
        let pidFile: String

        init(_ arguments: [String], in scratch: Scratch) async throws {
            let socket = scratch.path + "/\(UUID().uuidString.prefix(6)).sock"
            pidFile = socket + ".pid"
            uri = "nbd+unix:///?socket=\(socket)"
            let result = try await Command.run("nbdkit", ["-U", socket, "-P", pidFile] + arguments)
            try #require(result.status == 0, "\(result.errors)")
            while !FileManager.default.fileExists(atPath: pidFile) { try await Task.sleep(for: .milliseconds(5)) }
        }

        var process: pid_t? {
            (try? String(contentsOfFile: pidFile, encoding: .utf8))
                .flatMap { pid_t($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
        }

        func stop() {
            guard let process else { return }
            kill(process, SIGKILL)
            unlink(pidFile)
        }

        deinit {
            stop()
            let socket = pidFile.dropLast(4)
            unlink(String(socket))
        }
    }

    private let scratch = Scratch()
    private var random = Seeded.fresh()

    @Test(arguments: ["file", "file-no-extents"]) func aServersDiskIsIndexedLikeAFile(plugin: String) async throws {
        var random = random
        let bytes = mixedImage(&random, block: 4096, blocks: 900, tail: 512)
        let image = scratch.image("a.raw", bytes)
        let filters = plugin == "file" ? [] : ["--filter=noextents"]
        let server = try await Server(filters + ["file", image], in: scratch)
        let store = try IndexStore(directory: scratch.index)
        let directly = try store.add(image, threads: 2)
        let remotely = try store.add(server.uri, threads: 2)
        #expect(remotely.neighbour.name == server.uri)
        #expect(remotely.neighbour.distinct == directly.neighbour.distinct)
        #expect(remotely.neighbour.zero == directly.neighbour.zero)
        #expect(plugin == "file" ? remotely.bytesRead < bytes.count : remotely.bytesRead == bytes.count)
        try store.remove(image)
        let index = try NeighbourIndex.open(directory: scratch.index)
        let naive = NaiveImage(bytes, block: 4096)
        for (fingerprint, candidate) in zip(naive.fingerprints, index.lookUp(naive.fingerprints)) {
            #expect(fingerprint == .zero ? candidate == nil : index.isGood(candidate, fingerprint))
        }
        // Changes can't be seen, so the disk is read again.
        #expect(try store.refresh(server.uri, threads: 2) != nil)
        try store.remove(server.uri)
        #expect(try NeighbourIndex.open(directory: scratch.index).neighbours.isEmpty)
    }

    @Test func aLostServerOrChangedBytesAreAMiss() async throws {
        var random = random
        let image = scratch.image("a.raw", random.bytes(4096 * 4))
        let fingerprints = NaiveImage(scratch.contents(image), block: 4096).fingerprints
        let server = try await Server(["file", image], in: scratch)
        _ = try IndexStore(directory: scratch.index).add(server.uri, threads: 1)
        let index = try NeighbourIndex.open(directory: scratch.index)
        func good() -> [Bool] { zip(index.lookUp(fingerprints), fingerprints).map { index.isGood($0, $1) } }
        #expect(good() == [true, true, true, true])
        // Reading ahead gives the same answers, and is dropped once a block has changed.
        index.willFetch(index.lookUp(fingerprints))
        #expect(good() == [true, true, true, true])
        scratch.damage(image, at: 4096)
        index.willFetch(index.lookUp(fingerprints))
        #expect(good() == [true, false, true, true])
        server.stop()
        #expect(good() == [false, false, false, false])
        let later = try NeighbourIndex.open(directory: scratch.index)
        #expect(zip(later.lookUp(fingerprints), fingerprints).allSatisfy { !later.isGood($0, $1) })
    }

    @Test func aHangingServerIsWaitedForOnce() async throws {
        var random = random
        let image = scratch.image("a.raw", random.bytes(4096 * 8))
        let fingerprints = NaiveImage(scratch.contents(image), block: 4096).fingerprints
        let server = try await Server(["file", image], in: scratch)
        _ = try IndexStore(directory: scratch.index).add(server.uri, threads: 1)
        let index = try NeighbourIndex.open(directory: scratch.index)
        #expect(index.isGood(index.lookUp(fingerprints)[0], fingerprints[0]))
        // Stop the server: the connection stays open, but no reply comes.
        let process = try #require(server.process)
        try await pause(process)
        let began = ContinuousClock.now
        #expect(zip(index.lookUp(fingerprints), fingerprints).allSatisfy { !index.isGood($0, $1) })
        #expect(began.duration(to: .now) < .seconds(15))
        kill(process, SIGCONT)
    }

    /// Stops a process, and waits until its threads have stopped; kill(2) returns earlier.
    private func pause(_ process: pid_t) async throws {
        kill(process, SIGSTOP)
        func isStopped(_ thread: String) -> Bool {
            let state = try? String(contentsOfFile: "/proc/\(process)/task/\(thread)/stat", encoding: .utf8)
            return state?.split(separator: ")").last?.hasPrefix(" T") ?? true
        }
        while try !FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task").allSatisfy(isStopped) {
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    @Test func aMissingServerGivesAClearError() throws {
        let store = try IndexStore(directory: scratch.index)
        let uri = "nbd+unix:///?socket=\(scratch.path)/none.sock"
        do {
            _ = try store.add(uri, threads: 1)
            Issue.record("there is no server")
        } catch {
            #expect("\(error)".contains(uri) && !"\(error)".contains("\n"))
        }
    }
}
