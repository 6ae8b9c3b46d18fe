import NIOCore

// The fields of the messages between hosts of a site. docs/protocol.md, "Neighbours of other hosts".

extension NeighbourRead {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.neighbourRead.rawValue, id)
        out.writeBytes(table)
        out.writeMultipleIntegers(offset, length)
    }

    init?(from input: inout ByteBuffer) {
        guard let id: UInt32 = input.readInteger(), let table = input.readBytes(length: Self.tableLength),
            let (offset, length) = input.readMultipleIntegers(as: (UInt64, UInt32).self),
            (1...Self.maximumLength).contains(Int(length)), offset <= UInt64(Int64.max) - UInt64(length)
        else { return nil }
        self.init(id: id, table: table, offset: offset, length: length)
    }
}

extension NeighbourBytes {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.neighbourBytes.rawValue, id)
        out.writeImmutableBuffer(payload)
    }

    init?(from input: inout ByteBuffer) {
        guard let id: UInt32 = input.readInteger(), input.readableBytes <= NeighbourRead.maximumLength else {
            return nil
        }
        self.init(id: id, payload: input.takeRest())
    }
}
