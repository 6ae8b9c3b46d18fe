import BlockModel
import NIOCore
import PeerModel

// The fields of the messages that carry requests. docs/protocol.md, "Forwarding and chains".

extension ForwardRequest {
    func encode(into out: inout ByteBuffer) {
        let flags: UInt8 = (isForced ? 1 : 0) | (mayPunchHole ? 2 : 0)
        out.writeMultipleIntegers(Message.Kind.request.rawValue, id, kind.rawValue, flags, offset, length)
        out.writeImmutableBuffer(payload)
    }

    init?(from input: inout ByteBuffer) {
        guard
            let (id, kind, flags, offset, length) = input.readMultipleIntegers(
                as: (UInt64, UInt8, UInt8, UInt64, UInt64).self),
            let kind = RequestKind(rawValue: kind)
        else { return nil }
        self.init(
            id: id, kind: kind, isForced: flags & 1 != 0, mayPunchHole: flags & 2 != 0, offset: offset,
            length: length,
            payload: input.takeRest())
    }
}

extension Successor {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.successor.rawValue, address.port, mayRepeat ? 1 : 0 as UInt8)
        out.writeText(address.host)
    }

    init?(from input: inout ByteBuffer) {
        guard let (port, mayRepeat) = input.readMultipleIntegers(as: (UInt16, UInt8).self),
            let host = input.readText(maximum: PeerAddress.longestHost)
        else { return nil }
        self.init(address: PeerAddress(host: host, port: port), mayRepeat: mayRepeat == 1)
        guard address.isWellFormed else { return nil }
    }
}
