import Block
import NBD

/// A read or write that is longer than one connection may hold, or than it can get a buffer for: it goes piece by piece,
/// while the connection does nothing else. Its session drives it.
///
/// - A write: each piece is received, then written; the reply comes after the last. After an error the rest is received
///   and dropped.
/// - A read: all pieces are read once and dropped, so that an error can still be answered: a reply that has begun can only
///   be finished. Then they are read again and sent. The second time, most come from the page cache.
///
/// One object serves all large requests of a connection, one after the other.
final class LargeTransfer: RequestOwner, @unchecked Sendable {
    /// What happens to the current piece.
    enum Stage {
        /// There is no request.
        case idle
        /// It needs a buffer.
        case waiting
        /// Its payload is being received.
        case filling
        /// The device has it.
        case inFlight
    }

    private unowned(unsafe) let session: Session
    private let port: DiskPort
    /// The current piece.
    let slot: UnsafeMutablePointer<BlockRequest>
    private(set) var request: Request?
    private(set) var stage = Stage.idle
    /// Bytes of the pieces that are done with, this time.
    private(set) var done: UInt64 = 0
    /// The first error.
    private(set) var error = ErrorCode.none
    /// The most bytes of a piece that has not begun.
    private var piece = ServerLimits.piece
    private var isProbing = false
    private var isDurable = false

    init(session: Session, port: DiskPort) {
        self.session = session
        self.port = port
        slot = .allocate(capacity: 1)
        super.init()
        slot.initialize(to: BlockRequest(owner: self, port: port))
    }

    deinit {
        precondition(stage == .idle, "requests are finished before their memory goes")
        slot.deallocate()
    }

    var isActive: Bool { stage != .idle }

    var isWrite: Bool { request?.command == .write }

    /// Whether what is read now is the reply.
    var isSending: Bool { !isWrite && !isProbing }

    /// Whether no further piece is needed: all are done with, or a read has failed.
    var isOver: Bool { done == request?.length || !isWrite && error != .none }

    /// Bytes of the next piece.
    var nextLength: Int { min(piece, Int(request!.length - done)) }

    /// Bytes that the connection may hold with the next piece.
    var mostHeld: Int { piece > Self.smallPiece ? ServerLimits.buffersPerConnection : BufferShare.some }

    /// Bytes of a piece where buffers are short; two of them are within what any connection may have.
    static let smallPiece = BufferShare.some / 2

    /// Makes the pieces that have not begun small ones.
    /// - Returns: whether they were not.
    func makePiecesSmall() -> Bool {
        guard piece > Self.smallPiece else { return false }
        piece = Self.smallPiece
        return true
    }

    /// Takes a request on.
    func begin(_ request: Request, isDurable: Bool, piece: Int) {
        precondition(stage == .idle)
        self.request = request
        self.piece = piece
        self.isDurable = isDurable
        isProbing = request.command == .read
        done = 0
        error = .none
        stage = .waiting
    }

    /// Gives the next piece its buffer, of `nextLength` bytes.
    func prepare(_ buffer: UnsafeMutableRawPointer) {
        slot.pointee.kind = isWrite ? .write : .read
        slot.pointee.isForcedUnitAccess = isDurable
        slot.pointee.offset = request!.offset + done
        slot.pointee.length = UInt64(nextLength)
        slot.pointee.cookie = request!.cookie
        slot.pointee.buffer = buffer
        slot.pointee.resetResult()
        stage = .filling
    }

    /// Gives the piece to the device.
    func submit() {
        stage = .inFlight
        port.submit(slot)
    }

    override func finished(_ request: UnsafeMutablePointer<BlockRequest>) {
        session.pieceEnded(self)
    }

    /// The piece is done with, and its buffer is the session's again.
    func advance() {
        if error == .none { error = ErrorCode(errno: slot.pointee.error) }
        done += slot.pointee.length
        if isProbing, done == request?.length, error == .none {
            isProbing = false
            done = 0
        }
        stage = .waiting
    }

    func end() {
        request = nil
        stage = .idle
    }
}
