import Block
import MigrationProtocol
import NIOCore

extension ForwardLink.State {
    /// Copies a client's request, which leaves on the current connection. Only with the state locked.
    ///
    /// `stop` may end the request as long as it has not left, and an answer once it has. Its buffer is free after that.
    /// - Returns: nil if it has ended, or may not be sent now.
    mutating func leaves(_ id: UInt64) -> ForwardRequest? {
        guard requests.takesRequests, let request = pending[id] else { return nil }
        let remote = ForwardRequest(id, request)
        requests.leaves(remote)
        return remote
    }
}

/// Only here, so that no request is copied without the lock.
extension ForwardRequest {
    fileprivate init(_ id: UInt64, _ request: AsyncRequest) {
        var payload = ByteBuffer()
        if request.kind == .write { payload.writeBytes(UnsafeRawBufferPointer(request.buffer)) }
        self.init(
            id: id, kind: request.kind, isForced: request.isForcedUnitAccess,
            mayPunchHole: request.mayPunchHole,
            offset: request.offset, length: request.length, payload: payload)
    }
}
