import Block
import NBD

/// A read or write that exceeds the limit of one connection, or for which no buffer is free. It is served piece by
/// piece while the connection does nothing else. Its session drives it.
///
/// - A write: each piece is received, then written; the reply follows the last. After an error, the rest is received
///   and dropped.
/// - A read: all pieces are first read and dropped, so that an error can still be answered. A reply that has begun
///   can't report one. Then they are read again, mostly from the page cache, and sent.
///
/// One object serves all large requests of a connection, one after the other.
final class LargeTransfer: RequestOwner, @unchecked Sendable {
    /// The state of the current piece.
    enum Stage {
        /// There is no request.
        case idle
        /// The piece needs a buffer.
        case waiting
        /// The payload of the piece is being received.
        case filling
        /// The device works on the piece.
        case inFlight
    }

    private unowned(unsafe) let session: Session
    private let port: DiskPort
    /// The request for the current piece.
    let slot: UnsafeMutablePointer<BlockRequest>
    private(set) var request: Request?
    private(set) var stage = Stage.idle
    /// Bytes of the pieces that have ended, in the current pass.
    private(set) var done: UInt64 = 0
    /// The first error of any piece.
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
        precondition(stage == .idle, "requests end before their memory is freed")
        slot.deallocate()
    }

    var isActive: Bool { stage != .idle }

    var isWrite: Bool { request?.command == .write }

    /// Whether the current pass of a read is the one that is sent.
    var isSending: Bool { !isWrite && !isProbing }

    /// Whether no further piece is needed: all have ended, or a read has failed.
    var isOver: Bool { done == request?.length || !isWrite && error != .none }

    /// Bytes of the next piece.
    var nextLength: Int { min(piece, Int(request!.length - done)) }

    /// Bytes that the connection may hold with the next piece.
    var mostHeld: Int { piece > Self.smallPiece ? ServerLimits.buffersPerConnection : BufferShare.some }

    /// Bytes of a piece while buffers are short; any connection may hold two of them.
    static let smallPiece = BufferShare.some / 2

    /// Makes further pieces small.
    /// - Returns: false if they are small already.
    func makePiecesSmall() -> Bool {
        guard piece > Self.smallPiece else { return false }
        piece = Self.smallPiece
        return true
    }

    /// Begins a request.
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

    /// Gives the next piece its buffer of `nextLength` bytes.
    func prepare(_ buffer: UnsafeMutableRawPointer, share: Int) {
        slot.pointee.kind = isWrite ? .write : .read
        slot.pointee.isForcedUnitAccess = isDurable
        slot.pointee.offset = request!.offset + done
        slot.pointee.length = UInt64(nextLength)
        slot.pointee.cookie = request!.cookie
        slot.pointee.buffer = buffer
        slot.pointee.bufferShare = share
        slot.pointee.resetResult()
        stage = .filling
    }

    /// Submits the piece to its device.
    func submit() {
        stage = .inFlight
        port.submit(slot)
    }

    override func finished(_ request: UnsafeMutablePointer<BlockRequest>) {
        session.pieceEnded(self)
    }

    /// Ends the piece, whose buffer is the session's again.
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
