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
public final class StorageDaemon: DiskServer {
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
    /// Decides whether the daemon may be used; nil if it always may.
    public let admission: (any StorageAdmission)?
    private let supervisor: Supervisor

    /// Starts a daemon and waits until it serves the disk. Blocks the thread.
    /// - Parameters:
    ///   - directory: where its socket goes, in a folder that only this user can enter.
    ///   - admission: asked each time a daemon has opened the disk, before it is used.
    ///   - isStillThere: asked before the daemon is started again: whether the image is still the one it had open.
    ///   - report: called with a line for the operator when the daemon has ended by itself; on any thread.
    /// - Throws: `StorageDaemonError`; `FileError`.
    public static func start(
        _ image: ImageSpecification, _ options: Options, in directory: String,
        admission: (any StorageAdmission)? = nil, isStillThere: @escaping @Sendable () -> Bool = { true },
        report: @escaping @Sendable (String) -> Void
    ) throws -> StorageDaemon {
        let folder = try SocketFolder(in: directory)
        let nodes = try [true, false].map {
            try image.blockdev(
                name: "disk", isReadOnly: options.isReadOnly, isDirect: options.isDirect, isShared: options.isShared,
                usesRing: $0)
        }
        let arguments = [
            "--export", "type=nbd,id=disk,node-name=disk,name=disk,writable=\(options.isReadOnly ? "off" : "on")",
        ]
        let supervisor = Supervisor(image.text, nodes, arguments, folder, admission, isStillThere, report)
        let daemon = StorageDaemon(supervisor)
        try daemon.waitUntilReady(image.text)
        return daemon
    }

    /// Removes what processes that were killed have left in a directory that no other process uses.
    public static func removeLeftovers(in directory: String) { SocketFolder.removeLeftovers(in: directory) }

    private init(_ supervisor: Supervisor) {
        self.supervisor = supervisor
        admission = supervisor.admission
        var allowed = CharacterSet.alphanumerics
        allowed.insert(charactersIn: "-._~/")
        let socket = supervisor.folder.socket
        uri = "nbd+unix:///disk?socket=\(socket.addingPercentEncoding(withAllowedCharacters: allowed) ?? socket)"
        supervisor.begin()
    }

    deinit { supervisor.askToEnd() }

    /// Calls `body` each time the daemon has ended, before it is started again; on any thread.
    public func whenEnded(_ body: @escaping @Sendable () -> Void) { supervisor.whenEnded(body) }

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
            /// Whether the disk must not be used any more.
            var isRefused = false
            /// Why the running daemon is not used.
            var refusal: String?
            /// Whether the last daemon has ended with nothing left to write.
            var isClean = true
            /// The number of the way to open the image that is used.
            var way = 0
            var whenEnded: [@Sendable () -> Void] = []
        }

        let folder: SocketFolder
        let admission: (any StorageAdmission)?
        private let image: String
        /// The arguments of `--blockdev` for the ways to open the image, the best one first.
        private let ways: [String]
        private let arguments: [String]
        private let isStillThere: @Sendable () -> Bool
        private let report: @Sendable (String) -> Void
        private let state = NIOLockedValueBox(State())
        private let ended = ConditionLock(value: 0)

        init(
            _ image: String, _ ways: [String], _ arguments: [String], _ folder: SocketFolder,
            _ admission: (any StorageAdmission)?,
            _ isStillThere: @escaping @Sendable () -> Bool, _ report: @escaping @Sendable (String) -> Void
        ) {
            self.image = image
            self.ways = ways
            self.arguments = arguments
            self.folder = folder
            self.admission = admission
            self.isStillThere = isStillThere
            self.report = report
        }

        /// Why the daemon could not be started; nil if it could.
        var failure: String? { state.withLockedValue { $0.failure } }

        func whenEnded(_ body: @escaping @Sendable () -> Void) { state.withLockedValue { $0.whenEnded.append(body) } }

        func markReady() { state.withLockedValue { $0.isReady = true } }

        func begin() {
            Thread.detachNewThread { [self] in
                run()
                folder.remove()
                admission?.ended(isClean: state.withLockedValue { $0.isClean })
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
            for number in 0... as PartialRangeFrom<UInt64> {
                let started = ContinuousClock.now
                let (reason, wasKilled) = runOnce(number)
                let (isEnding, isReady) = state.withLockedValue { ($0.isEnding || $0.isRefused, $0.isReady) }
                if isEnding { return }
                if state.withLockedValue({ takeNextWay(&$0, after: reason) }) { continue }
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

        /// Goes to the next way to open the image if QEMU has refused this one. It can be built without io_uring, and a system can
        /// keep that from it at any start.
        /// - Returns: false if the image was not opened for another reason, or there is no other way.
        private func takeNextWay(_ state: inout State, after reason: String) -> Bool {
            guard reason.contains("io_uring"), state.way + 1 < ways.count, ways[state.way] != ways[state.way + 1] else {
                return false
            }
            state.way += 1
            return true
        }

        /// Runs one daemon to its end.
        /// - Returns: why it has ended, and whether a signal has ended it.
        private func runOnce(_ number: UInt64) -> (reason: String, wasKilled: Bool) {
            unlink(folder.socket)
            let opened = folder.opened(number)
            defer { unlink(opened) }
            let path = (admission == nil ? folder.socket : opened).replacing(",", with: ",,")
            let server = ["--nbd-server", "addr.type=unix,addr.path=\(path)"]
            let process: StorageDaemonProcess
            // The socket appears after the disk is open, and before the export.
            let way = ways[state.withLockedValue { $0.way }]
            do {
                process = try StorageDaemonProcess(
                    arguments: ["--blockdev", way] + server + arguments, fences: admission != nil)
            } catch { return ("\(error)", false) }
            let isEnding = state.withLockedValue { state in
                (state.process, state.refusal, state.isClean) = (process, nil, false)
                return state.isEnding
            }
            if isEnding { process.send(SIGTERM) }
            if let admission { Thread.detachNewThread { [self] in admit(process, at: opened, by: admission) } }
            let (status, said) = process.end()
            let (refusal, told) = state.withLockedValue { state in
                state.process = nil
                state.isClean = status == 0
                return (state.refusal, state.whenEnded)
            }
            for body in told { body() }
            return (refusal ?? readable(said, way), refusal != nil || status & 0x7f != 0)
        }

        /// Lets a daemon be used once it has opened the disk and may do so.
        private func admit(_ process: StorageDaemonProcess, at opened: String, by admission: any StorageAdmission) {
            while access(opened, F_OK) != 0 {
                guard state.withLockedValue({ $0.process === process }) else { return }
                usleep(10_000)
            }
            do {
                try admission.admit()
                try state.withLockedValue { state in
                    // Another daemon's socket may be at the path once this one has ended.
                    guard state.process === process else { return }
                    guard rename(opened, folder.socket) == 0 else { throw FileError("rename", opened) }
                }
            } catch {
                refuse(process, because: error, isFinal: admission.isFinal(error))
            }
        }

        private func refuse(_ process: StorageDaemonProcess, because error: any Error, isFinal: Bool) {
            let tells = state.withLockedValue { state in
                guard isFinal || state.process === process, !state.isEnding else { return false }
                state.refusal = "\(error)"
                guard isFinal else { return false }
                (state.isRefused, state.failure) = (true, "\(error)")
                return state.isReady
            }
            if tells { report("\(error)") }
            // Nothing was written through it, and it would watch the image for a while after a kill.
            process.send(isFinal ? SIGKILL : SIGTERM)
            let end = ContinuousClock.now + .seconds(StorageDaemon.stopSeconds)
            while .now < end {
                guard state.withLockedValue({ $0.process === process }) else { return }
                usleep(10_000)
            }
            process.send(SIGKILL)
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
        private func readable(_ said: String, _ way: String) -> String {
            said.replacing("--blockdev \(way): ", with: "").replacing("qemu-storage-daemon: ", with: "")
        }
    }
}
