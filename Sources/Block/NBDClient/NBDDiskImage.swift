import CLibNBD
import Glibc
import Ring
import Synchronization

/// Another NBD server's disk, read and written by worker threads beside the clients of `device`.
///
/// Writes and flushes share one connection, so that a flush covers them on any server. A lost connection is made again.
/// If the server may have lost changes that were not flushed, of this object or of `device`, `synchronize` fails until
/// `forgetLosses`.
public final class NBDDiskImage: DiskImage {
    /// Bytes of data in one command: a server that was not asked for its limits must accept them.
    private static let longestData = 32 << 20
    /// Bytes that one command without data covers.
    private static let longestRange: UInt64 = 1 << 30
    /// Bytes of the first range whose extents are asked for; each further one is larger. QEMU looks up to 2048 extents up at
    /// once, of which the search for data uses few.
    private static let shortestLook: UInt64 = 4 << 20
    private static let growth: UInt64 = 4
    /// Connections for reads at once, if the server allows several.
    private static let mostReaders = 8
    private static let zeros = ZeroPage()

    /// The name for messages and records: what the user gave, and not where a helper of this node serves it.
    public let path: String
    /// The device for clients, which is opened together with the image.
    public let device: BlockDevice
    /// Counts changes that the server may have lost.
    public let losses: LossCount
    /// The local file whose contents the server gives in another form; nil if there is none.
    public let source: FormattedFile?
    private let givenName: String?
    /// Names this opening, for records about a disk that nothing tells from others after a restart.
    private let opening: String
    private let remote: NBDClientDevice
    private let traits: NBDClientTraits
    private let durability: NBDClientDurability
    private let readers: NBDClientPool
    /// The connection of writes and flushes; the same as `readers` if the server allows only one.
    private let writer: NBDClientPool
    /// The losses that `forgetLosses` has seen.
    private let known: Synchronization.Atomic<UInt64>

    /// Connects to a server.
    /// - Parameters:
    ///   - uri: an NBD URI.
    ///   - path: the name for messages and records; nil for the URI.
    ///   - source: the local file that the server gives in another form; nil if there is none.
    ///   - givenName: the operator's name for the disk; nil if there is none.
    ///   - loops: all loops of the node, in order.
    ///   - losses: counts the changes that the server may have lost.
    ///   - server: kept alive as long as the image and its device.
    ///   - report: called with a line for the operator when the server shows another disk than before; on any thread.
    /// - Throws: `NBDClientError`.
    public static func open(
        uri: String, path: String? = nil, source: FormattedFile? = nil, givenName: String? = nil, loops: [EventLoop],
        losses: LossCount = LossCount(), server: (any DiskServer)? = nil,
        report: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> NBDDiskImage {
        let device = try await NBDClientDevice.open(
            uri: uri, loops: loops, losses: losses, server: server, report: report)
        return NBDDiskImage(uri, path ?? uri, source, givenName, device, losses)
    }

    private init(
        _ uri: String, _ path: String, _ source: FormattedFile?, _ givenName: String?, _ device: NBDClientDevice,
        _ losses: LossCount
    ) {
        self.path = path
        self.source = source
        self.givenName = givenName
        self.device = device
        self.losses = losses
        remote = device
        traits = device.traits
        durability = device.durability
        let lost: @Sendable () -> Void = { [durability = device.durability] in durability.recordLostConnection() }
        let several = device.traits.canMultiConnect
        readers = NBDClientPool(uri: uri, traits: traits, most: several ? Self.mostReaders : 1, lost: lost)
        writer = several ? NBDClientPool(uri: uri, traits: traits, most: 1, lost: lost) : readers
        known = .init(losses.now)
        opening = "\(getpid())-\(UInt64.random(in: 0 ... .max))"
    }

    /// Ends all requests and calls that wait for the server. Any thread may call.
    public func stop() {
        remote.stop()
        readers.stop()
        writer.stop()
    }

    // MARK: What it is

    /// Bytes of the disk.
    public var size: UInt64 { traits.size }
    /// The server, if this process has started it; nil otherwise.
    public var server: (any DiskServer)? { remote.server }
    /// Whether the server accepts writes.
    public var isWritable: Bool { !traits.isReadOnly }
    /// Whether the server says that its disk is slow to seek.
    public var isRotational: Bool { traits.isRotational }
    /// Whether the disk is the contents of a local file.
    public var isFile: Bool { source?.isFile ?? false }
    /// The local file that the server gives in another form; nil if there is none.
    public var fileNumber: FileNumber? { source?.number }
    /// Whether the local file is still at its path; true if there is none.
    public var isAtPath: Bool { source?.isAtPath ?? true }

    /// Why a migration could copy other bytes than clients have written; nil if it could not. One line.
    public var sharingProblem: String? {
        guard isWritable, !traits.canMultiConnect else { return nil }
        return
            "the server of \(path) does not promise that its connections see each other's writes (multi-conn), so the "
            + "disk can't be migrated while clients write to it: let the server allow several connections "
            + "(qemu-nbd --shared=0), or serve the disk with --read-only"
    }

    /// The identity of the local file, or the operator's name; if there is neither, one that no other opening has.
    public func identity() throws -> ImageIdentity? {
        if let source { return try source.identity(size: size, name: givenName) }
        return ImageIdentity(
            device: givenName.map { DeviceIdentity([.named: $0]) } ?? DeviceIdentity([.opening: opening]), size: size)
    }

    /// Whether both objects lead to the same file in the same form, or to the same export.
    public func isOpenOnSame(as other: any DiskImage) throws -> Bool {
        guard let other = other as? NBDDiskImage else { return false }
        if self === other { return true }
        guard let source, let theirs = other.source else {
            return source == nil && other.source == nil && path == other.path
        }
        return source.number != nil && source.number == theirs.number && source.format == theirs.format
    }

    /// This object: its server decides who may write.
    public func reopened(for access: RawImage.Access) throws -> any DiskImage {
        guard access == .readOnly || isWritable else { throw FileError("open for writing", path, code: EROFS) }
        return self
    }

    /// Bytes that the local file takes; if there is none, the bytes of data.
    public func allocatedBytes() throws -> UInt64 { try source?.allocatedBytes ?? dataBytes() }

    // MARK: Reading

    /// Fills `buffer` with the bytes at `offset`. Blocks the thread.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        try perform("read \(buffer.count) bytes at \(offset) of", on: readers) { link in
            var done = 0
            while done < buffer.count {
                let count = min(buffer.count - done, Self.longestData)
                let received = ReceivedBytes(offset + UInt64(done), count: UInt64(count))
                try send(on: link) {
                    nbd_aio_pread_structured(
                        $0, buffer.baseAddress! + done, count, offset + UInt64(done), received.callback(),
                        nbd_completion_callback(), 0)
                }
                guard received.isWhole else { throw NBDClientError(path, "an incomplete answer", code: EIO) }
                done += count
            }
        }
    }

    /// The next range that the server does not call zero; everything if it does not tell. Blocks the thread.
    public func nextData(from offset: UInt64) throws -> Range<UInt64>? {
        guard offset < size else { return nil }
        guard traits.canTellStatus else { return offset..<size }
        var position = offset
        var look = Self.shortestLook
        while position < size {
            // An older answer must not be used again: a write may have come since.
            var start = position
            let found = try extents(from: position, limit: min(look, size - position))
            look = min(look * Self.growth, Self.longestRange)
            for extent in found {
                let end = start + extent.length
                if extent.state.contains(.zero) {
                    if position < start { return position..<start }
                    position = end
                }
                start = end
            }
            if position < start { return position..<start }
        }
        return nil
    }

    /// Bytes that the server does not call zero; all if it does not tell. Blocks the thread.
    public func dataBytes() throws -> UInt64 {
        guard traits.canTellStatus else { return size }
        var (total, position) = (0 as UInt64, 0 as UInt64)
        // A whole range at once: the end of the data in it does not matter here, as it does to `nextData`.
        while position < size {
            for extent in try extents(from: position, limit: min(Self.longestRange, size - position)) {
                if !extent.state.contains(.zero) { total += extent.length }
                position += extent.length
            }
        }
        return total
    }

    /// At least one extent from `offset` on, which is less than `size`, and of at most `limit` bytes together.
    private func extents(from offset: UInt64, limit: UInt64) throws -> [BlockExtent] {
        try perform("look for data in", on: readers) { link in
            let found = ExtentList(limit: limit)
            try send(on: link) {
                nbd_aio_block_status($0, limit, offset, found.callback(), nbd_completion_callback(), 0)
            }
            // A server without a usable answer leaves everything data.
            let isUsable = found.extents.first.map { $0.length > 0 } ?? false
            return isUsable ? found.extents : [BlockExtent(length: limit, state: [])]
        }
    }

    // MARK: Writing

    /// Writes all of `buffer` at `offset`. Blocks the thread.
    public func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws {
        let force = force
        try perform("write \(buffer.count) bytes at \(offset) of", on: writer) { link in
            let generation = durability.generation
            var done = 0
            while done < buffer.count {
                let count = min(buffer.count - done, Self.longestData)
                try send(on: link) {
                    nbd_aio_pwrite(
                        $0, buffer.baseAddress! + done, count, offset + UInt64(done), nbd_completion_callback(), force)
                }
                done += count
            }
            if force == 0 { durability.recordWrite(begunIn: generation) }
        }
    }

    /// The flags of a change that must not be lost with the server; 0 while a flush is to make changes durable.
    private var force: UInt32 {
        durability.forcesChanges && traits.canForceUnitAccess ? UInt32(LIBNBD_CMD_FLAG_FUA) : 0
    }

    /// Makes a range zero; the server may free its space. Blocks the thread.
    public func punchHole(at offset: UInt64, length: UInt64) throws {
        try zero(offset, length, flags: 0)
    }

    /// Makes a range zero; the server is to keep its space. Blocks the thread.
    public func writeZeros(at offset: UInt64, length: UInt64) throws {
        try zero(offset, length, flags: UInt32(LIBNBD_CMD_FLAG_NO_HOLE))
    }

    private func zero(_ offset: UInt64, _ length: UInt64, flags: UInt32) throws {
        let force = force
        try perform("make \(length) bytes at \(offset) zero in", on: writer) { link in
            let generation = durability.generation
            var done: UInt64 = 0
            while done < length {
                let piece = min(length - done, traits.canZero ? Self.longestRange : UInt64(ZeroPage.count))
                try send(on: link) {
                    traits.canZero
                        ? nbd_aio_zero($0, piece, offset + done, nbd_completion_callback(), flags | force)
                        : nbd_aio_pwrite(
                            $0, Self.zeros.bytes, Int(piece), offset + done, nbd_completion_callback(), force)
                }
                done += piece
            }
            if force == 0 { durability.recordWrite(begunIn: generation) }
        }
    }

    /// Does nothing: the protocol has no such command.
    public func beginWritingOut() {}

    // MARK: Durability

    /// Makes everything durable that was written by this object, and by the device if the server allows several
    /// connections. Blocks the thread.
    public func synchronize() throws {
        try checkIsDurable()
        // A server that offers no flushes promises durable writes.
        guard traits.canFlush, isWritable else { return }
        try perform("flush", on: writer) { link in
            // Counted anew on each connection: a flush covers nothing that a lost one was to make durable.
            let mark = durability.beginFlush()
            do {
                try send(on: link) { nbd_aio_flush($0, nbd_completion_callback(), 0) }
            } catch {
                // The server may have dropped what it could not write. The pool records a lost connection itself.
                if !link.isBroken { durability.recordLoss() }
                throw error
            }
            durability.endFlush(covering: mark)
        }
        try checkIsDurable()
    }

    /// - Throws: `LostChanges` if the server may have lost changes since the last `forgetLosses`.
    public func checkIsDurable() throws {
        if losses.now != known.load(ordering: .acquiring) { throw LostChanges(path: path) }
    }

    /// An I/O error if the server may have lost changes since the last `forgetLosses`; nil if it has not.
    public var flushFailure: FileError? {
        losses.now == known.load(ordering: .acquiring) ? nil : FileError("flush", path, code: EIO)
    }

    /// Lets `synchronize` succeed again: what is lost is lost, and clients have been told.
    public func forgetLosses() { known.store(losses.now, ordering: .releasing) }

    /// Sets whether everything fails once the server may have lost changes.
    public func refuseAfterLosses(_ isOn: Bool) { durability.setStrict(isOn) }

    // MARK: Commands

    private func send(on link: NBDClientLink, _ begin: (OpaquePointer) -> Int64) throws {
        try link.perform(path, timeoutSeconds: NBDClientPool.retrySeconds, begin)
    }

    private func perform<Result>(
        _ action: @autoclosure () -> String, on pool: NBDClientPool, _ body: (NBDClientLink) throws -> Result
    ) throws -> Result {
        do {
            return try pool.withLink { link in
                // Asked on each connection: the last one may have been lost.
                guard !durability.refuses else { throw NBDClientError(path, "changes were lost", code: EIO) }
                return try body(link)
            }
        } catch let error as NBDClientError {
            throw FileError(action(), path, code: error.code == 0 ? EIO : error.code)
        }
    }
}
