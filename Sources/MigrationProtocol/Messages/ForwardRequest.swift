import BlockModel
import NIOCore

/// A request of a client of the source, for the disk at the destination.
public struct ForwardRequest: Sendable, Equatable {
    package var id: UInt64
    package var kind: RequestKind
    package var isForced: Bool
    package var mayPunchHole: Bool
    package var offset: UInt64
    package var length: UInt64
    package var payload: ByteBuffer

    package init(
        id: UInt64, kind: RequestKind, isForced: Bool, mayPunchHole: Bool, offset: UInt64, length: UInt64,
        payload: ByteBuffer
    ) {
        self.id = id
        self.kind = kind
        self.isForced = isForced
        self.mayPunchHole = mayPunchHole
        self.offset = offset
        self.length = length
        self.payload = payload
    }
}
