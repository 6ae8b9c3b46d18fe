import BlockModel
import Glibc
import NIOConcurrencyHelpers
import Ring

/// A disk that has not been handed over yet: reads and flushes are passed to the node that has it (invariant 13), changes
/// wait for the hand-over or are refused.
///
/// 1. `waiting`. 2. `open` puts the device under it that has the disk, and what has waited goes there. Or 2. `close`
/// ends everything, where the migration came to nothing.
public final class IncomingDevice: BlockDevice, @unchecked Sendable {
    private enum Phase {
        case waiting
        case open(BlockDevice)
        case closed
    }

    private struct State {
        var phase = Phase.waiting
        var nextID: UInt64 = 0
        /// Requests that are not done; one that is answered from afar leaves first.
        var pending: [UInt64: PendingRequest] = [:]
    }

    private let reader: any IncomingReader
    private let refusesChanges: Bool
    /// Whether clients may not change the disk once it is here, either.
    public let isReadOnly: Bool
    private let onChange: @Sendable () -> Void
    private let state = NIOLockedValueBox(State())

    /// - Parameters:
    ///   - reader: reads from the node that has the disk.
    ///   - refusesChanges: changes fail with `EPERM` instead of waiting.
    ///   - isReadOnly: clients may not change the disk once it is here, either.
    ///   - onChange: told of each change that is asked for, from any thread.
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

    /// The disk is this node's, and `device` has it.
    public func open(_ device: BlockDevice) {
        for pending in leave(.open(device)) {
            pending.port.loop.post { device.start(pending.request, on: pending.port) }
        }
    }

    /// The disk will not come.
    public func close() {
        for pending in leave(.closed) { pending.finish(error: ESHUTDOWN) }
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
            _ = request.pointee.addExtent(BlockExtent(length: request.pointee.length, state: []))
            pending.finish(error: 0)
        case .flush:
            // Of what this client wrote at the other node, before it came here.
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
            guard let pending = take(id) else { return }
            if error == 0 {
                guard bytes.count == Int(pending.request.pointee.length) else { return pending.finish(error: EIO) }
                pending.request.pointee.buffer!.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
            }
            pending.finish(error: error)
        }
    }

    private func flush(_ id: UInt64) {
        reader.flush { [self] error in take(id)?.finish(error: error) }
    }

    private static func isPassedOn(_ kind: RequestKind) -> Bool { kind == .read || kind == .flush }

    /// A request that was answered from afar; nil after the hand-over, when it is the device's and the answer too late.
    private func take(_ id: UInt64) -> PendingRequest? {
        state.withLockedValue { $0.pending.removeValue(forKey: id) }
    }

    private func leave(_ phase: Phase) -> [PendingRequest] {
        state.withLockedValue { state in
            guard case .waiting = state.phase else { return [] }
            state.phase = phase
            defer { state.pending = [:] }
            return state.pending.sorted { $0.key < $1.key }.map(\.value)
        }
    }
}
