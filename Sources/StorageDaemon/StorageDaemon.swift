import Block
import Foundation
import Glibc
import NIOConcurrencyHelpers

/// A `qemu-storage-daemon` that serves one disk to this process over a Unix socket that nobody else can reach.
///
/// 1. `start` returns once the disk can be used.
/// 2. If the daemon ends, it is started again, and connections to it are made again by those who use it.
/// 3. `stop`, or the end of this object, ends it. So does the end of this process.
///
/// Any thread may use it.
public final class StorageDaemon: Sendable {
    /// How a disk is opened.
    public struct Options: Sendable {
        /// Whether the daemon refuses writes.
        public var isReadOnly: Bool
        /// Whether it bypasses the host's page cache.
        public var isDirect = false
        /// Whether another program may write to the image meanwhile; only for reading.
        public var isShared = false

        /// The usual way.
        public init(isReadOnly: Bool) { self.isReadOnly = isReadOnly }
    }

    private static let startSeconds = 30
    /// Time for another program to give the image up: the daemon of a node that was killed ends a moment later.
    private static let lockSeconds = 5
    /// Seconds until a daemon that was asked to end is killed.
    private static let stopSeconds = 10
    private static let shortestPause: UInt32 = 100_000
    private static let longestPause: UInt32 = 5_000_000
    /// Seconds after which a daemon counts as one that works, so that its end is no reason to wait.
    private static let soundSeconds = 30

    /// The NBD URI of the disk, for this process only.
    public let uri: String
    private let supervisor: Supervisor

    /// Starts a daemon and waits until it serves the disk. Blocks the thread.
    /// - Parameters:
    ///   - directory: where its socket goes, in a folder that only this user can enter.
    ///   - isStillThere: asked before the daemon is started again: whether the image is still the one it had open.
    ///   - report: called with a line for the operator when the daemon has ended by itself; on any thread.
    /// - Throws: `StorageDaemonError`; `FileError`.
    public static func start(
        _ image: ImageSpecification, _ options: Options, in directory: String,
        isStillThere: @escaping @Sendable () -> Bool = { true }, report: @escaping @Sendable (String) -> Void
    ) throws -> StorageDaemon {
        let folder = try SocketFolder(in: directory)
        let node = try image.blockdev(
            name: "disk", isReadOnly: options.isReadOnly, isDirect: options.isDirect, isShared: options.isShared)
        let server = ["addr.type": "unix", "addr.path": folder.socket].map { "\($0)=\($1.replacing(",", with: ",,"))" }
        let arguments = [
            "--blockdev", node, "--nbd-server", server.joined(separator: ","), "--export",
            "type=nbd,id=disk,node-name=disk,name=disk,writable=\(options.isReadOnly ? "off" : "on")",
        ]
        let supervisor = Supervisor(image.text, arguments, folder, isStillThere, report)
        let daemon = StorageDaemon(supervisor)
        try daemon.waitUntilReady(image.text)
        return daemon
    }

    /// Removes what processes that were killed have left in a directory that no other process uses.
    public static func removeLeftovers(in directory: String) { SocketFolder.removeLeftovers(in: directory) }

    private init(_ supervisor: Supervisor) {
        self.supervisor = supervisor
        var allowed = CharacterSet.alphanumerics
        allowed.insert(charactersIn: "-._~/")
        let socket = supervisor.folder.socket
        uri = "nbd+unix:///disk?socket=\(socket.addingPercentEncoding(withAllowedCharacters: allowed) ?? socket)"
        supervisor.begin()
    }

    deinit { supervisor.askToEnd() }

    /// Ends the daemon, which first writes what it holds back; kills it if that takes too long. Blocks the thread.
    public func stop() {
        supervisor.askToEnd()
        if supervisor.waitForEnd(seconds: Self.stopSeconds) { return }
        supervisor.kill()
        _ = supervisor.waitForEnd(seconds: Self.stopSeconds)
    }

    private func waitUntilReady(_ image: String) throws {
        let end = ContinuousClock.now + .seconds(Self.startSeconds)
        while true {
            if (try? NBDClientImage(uri: uri, timeoutSeconds: 5)) != nil {
                // The folder keeps others out already; both together hold also where it is opened to them.
                chmod(supervisor.folder.socket, 0o600)
                return supervisor.markReady()
            }
            if let failure = supervisor.failure { throw StorageDaemonError(image, failure) }
            guard .now < end else {
                stop()
                throw StorageDaemonError(image, "qemu-storage-daemon did not serve it within \(Self.startSeconds) s")
            }
            usleep(10_000)
        }
    }

    /// The thread that starts the daemon, waits for its end and starts it again. The daemon's life is bound to it.
    private final class Supervisor: Sendable {
        private struct State {
            var process: StorageDaemonProcess?
            var isReady = false
            var isEnding = false
            var failure: String?
        }

        let folder: SocketFolder
        private let image: String
        private let arguments: [String]
        private let isStillThere: @Sendable () -> Bool
        private let report: @Sendable (String) -> Void
        private let state = NIOLockedValueBox(State())
        private let ended = ConditionLock(value: 0)

        init(
            _ image: String, _ arguments: [String], _ folder: SocketFolder,
            _ isStillThere: @escaping @Sendable () -> Bool, _ report: @escaping @Sendable (String) -> Void
        ) {
            self.image = image
            self.arguments = arguments
            self.folder = folder
            self.isStillThere = isStillThere
            self.report = report
        }

        /// Why the daemon could not be started; nil if it could.
        var failure: String? { state.withLockedValue { $0.failure } }

        func markReady() { state.withLockedValue { $0.isReady = true } }

        func begin() {
            Thread.detachNewThread { [self] in
                run()
                folder.remove()
                ended.lock()
                ended.unlock(withValue: 1)
            }
        }

        func askToEnd() {
            let process = state.withLockedValue { state in
                state.isEnding = true
                return state.process
            }
            process?.send(SIGTERM)
        }

        func kill() { state.withLockedValue { $0.process }?.send(SIGKILL) }

        /// - Returns: whether the daemon has ended in time.
        func waitForEnd(seconds: Int) -> Bool {
            guard ended.lock(whenValue: 1, timeoutSeconds: Double(seconds)) else { return false }
            ended.unlock()
            return true
        }

        private func run() {
            let began = ContinuousClock.now
            var pause = StorageDaemon.shortestPause
            while true {
                let started = ContinuousClock.now
                let (reason, wasKilled) = runOnce()
                let (isEnding, isReady) = state.withLockedValue { ($0.isEnding, $0.isReady) }
                if isEnding { return }
                // Another program's lock may be about to go, and a daemon that was killed has found nothing wrong with the image.
                let mayPass =
                    (wasKilled || reason.contains("Failed to get"))
                    && .now < began + .seconds(StorageDaemon.lockSeconds)
                guard isReady || mayPass else { return state.withLockedValue { $0.failure = reason } }
                if started.duration(to: .now) > .seconds(StorageDaemon.soundSeconds) {
                    pause = StorageDaemon.shortestPause
                }
                if isReady {
                    report("qemu-storage-daemon for \(image) has ended (\(reason)); it is started again")
                }
                sleep(microseconds: pause)
                pause = min(pause * 2, StorageDaemon.longestPause)
                guard !isReady || waitForImage() else { return }
            }
        }

        /// Runs one daemon to its end.
        /// - Returns: why it has ended, and whether a signal has ended it.
        private func runOnce() -> (reason: String, wasKilled: Bool) {
            unlink(folder.socket)
            let process: StorageDaemonProcess
            do { process = try StorageDaemonProcess(arguments: arguments) } catch { return ("\(error)", false) }
            let isEnding = state.withLockedValue { state in
                state.process = process
                return state.isEnding
            }
            if isEnding { process.send(SIGTERM) }
            let (status, said) = process.end()
            state.withLockedValue { $0.process = nil }
            return (readable(said), status & 0x7f != 0)
        }

        /// Waits while another file stands at the image's path.
        /// - Returns: false once the daemon is to end.
        private func waitForImage() -> Bool {
            var isReported = false
            while !isStillThere() {
                if !isReported {
                    report("\(image) is another file now, or none; requests fail until the first one is back")
                    isReported = true
                }
                sleep(microseconds: StorageDaemon.longestPause)
                if state.withLockedValue({ $0.isEnding }) { return false }
            }
            return !state.withLockedValue { $0.isEnding }
        }

        private func sleep(microseconds: UInt32) {
            var left = microseconds
            while left > 0, !state.withLockedValue({ $0.isEnding }) {
                usleep(min(left, StorageDaemon.shortestPause))
                left -= min(left, StorageDaemon.shortestPause)
            }
        }

        /// Removes the long option that the daemon quotes from its words.
        private func readable(_ said: String) -> String {
            said.replacing("--blockdev \(arguments[1]): ", with: "").replacing("qemu-storage-daemon: ", with: "")
        }
    }
}
