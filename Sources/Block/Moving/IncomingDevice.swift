import BlockModel
import Glibc
import NIOConcurrencyHelpers
import Ring

/// A disk before its switchover: the node that has it answers reads and flushes (invariant 13), and changes wait for
/// the switchover or are refused.
///
/// 1. It is `waiting`.
/// 2. After the switchover, `open` sends waiting and later requests to a device. If the migration fails instead,
///    `close` ends all of them.
public final class IncomingDevice: BlockDevice, @unchecked Sendable {
    private enum Phase {
        case waiting
        case open(BlockDevice)
        case closed
    }

    private struct State {
        var phase = Phase.waiting
        var nextID: UInt64 = 0
        /// Requests that are not done; the request is removed when its answer comes from the other node.
        var pending: [UInt64: PendingRequest] = [:]
    }

    private let reader: any IncomingReader
    private let refusesChanges: Bool
    /// Whether clients may not change the disk after the switchover, either.
    public let isReadOnly: Bool
    private let onChange: @Sendable () -> Void
    private let state = NIOLockedValueBox(State())

    /// Creates a device that waits.
    /// - Parameters:
    ///   - reader: reads from the node that has the disk.
    ///   - refusesChanges: whether changes fail with `EPERM` instead of waiting.
    ///   - isReadOnly: whether clients may not change the disk after the switchover, either.
    ///   - onChange: called on any thread for each change that is requested.
    public init(
        reader: any IncomingReader, refusesChanges: Bool, isReadOnly: Bool = false,
        onChange: @escaping @Sendable () -> Void
    ) {
        self.isReadOnly = isReadOnly
        self.reader = reader
        self.refusesChanges = refusesChanges
        self.onChange = onChange
        super.init()
    }

    /// Passes all requests to `device`, which has the disk now. Any thread may call.
    public func open(_ device: BlockDevice) {
        for pending in endWaiting(.open(device)) {
            pending.port.loop.post { device.start(pending.request, on: pending.port) }
        }
    }

    /// Ends all requests with `ESHUTDOWN`: the disk will not come. Any thread may call.
    public func close() {
        for pending in endWaiting(.closed) { pending.finish(error: ESHUTDOWN) }
    }

    override func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        let pending = PendingRequest(request: request, port: port)
        var id: UInt64?
        let phase = state.withLockedValue { state -> Phase in
            guard case .waiting = state.phase else { return state.phase }
            if Self.isPassedOn(request.pointee.kind) || (request.pointee.kind.isChange && !refusesChanges) {
                id = state.nextID
                state.pending[state.nextID] = pending
                state.nextID += 1
            }
            return .waiting
        }
        switch phase {
        case .open(let device): return device.start(request, on: port)
        case .closed: return pending.finish(error: ESHUTDOWN)
        case .waiting: break
        }
        switch request.pointee.kind {
        case .read:
            read(id!, request)
        case .write, .trim, .writeZeroes:
            if refusesChanges { return pending.finish(error: EPERM) }
            onChange()
        case .status:
            request.pointee.addAllData()
            pending.finish(error: 0)
        case .flush:
            // The flush covers what this client wrote at the other node before it came here.
            flush(id!)
        case .cache:
            pending.finish(error: 0)
        }
    }

    override func readIfCached(into buffer: UnsafeMutableRawPointer, length: Int, at offset: UInt64) -> Int {
        guard case .open(let device) = state.withLockedValue({ $0.phase }) else { return 0 }
        return device.readIfCached(into: buffer, length: length, at: offset)
    }

    private func read(_ id: UInt64, _ request: UnsafeMutablePointer<BlockRequest>) {
        reader.read(offset: request.pointee.offset, length: Int(request.pointee.length)) { [self] error, bytes in
            guard let pending = remove(id) else { return }
            if error == 0 {
                guard bytes.count == Int(pending.request.pointee.length) else { return pending.finish(error: EIO) }
                pending.request.pointee.buffer!.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
            }
            pending.finish(error: error)
        }
    }

    private func flush(_ id: UInt64) {
        reader.flush { [self] error in remove(id)?.finish(error: error) }
    }

    private static func isPassedOn(_ kind: RequestKind) -> Bool { kind == .read || kind == .flush }

    /// Removes a request that the other node has answered; nil if the switchover came first, so that the device has
    /// it.
    private func remove(_ id: UInt64) -> PendingRequest? {
        state.withLockedValue { $0.pending.removeValue(forKey: id) }
    }

    private func endWaiting(_ phase: Phase) -> [PendingRequest] {
        state.withLockedValue { state in
            guard case .waiting = state.phase else { return [] }
            state.phase = phase
            defer { state.pending = [:] }
            return state.pending.sorted { $0.key < $1.key }.map(\.value)
        }
    }
}
