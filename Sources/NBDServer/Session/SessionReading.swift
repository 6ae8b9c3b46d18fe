import Block
import NBD

/// The meaning of the next bytes from a client.
enum SessionReading {
    /// Options of the handshake.
    case handshake
    /// None yet: the export that the client asks for is being examined.
    case examiningExport
    /// None yet: TLS starts once the reply to STARTTLS has been sent.
    case startingTLS
    /// Requests, which wait until connections that were given up have finished theirs.
    case waitingForOthers
    /// None yet: the export has its maximum of clients, some of which may be connections that were given up.
    case waitingForAdmission
    /// The header of a request.
    case header
    /// The payload of a write; `received` bytes are in the request's buffer.
    case payload(UnsafeMutablePointer<BlockRequest>, received: Int)
    /// The payload of a refused request; `left` bytes are still to come. The reply waits for them, since a client that is
    /// still sending expects none yet.
    case refusedPayload(Request, ErrorCode, left: Int)
    /// None yet: the request waits for a buffer.
    case waitingForBuffer(Request)
    /// None yet: a large request runs and needs no further payload at the moment.
    case large
    /// None any more.
    case nothing
}
