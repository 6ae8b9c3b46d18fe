/// A reply.
struct ClientReply {
    var cookie: UInt64
    var error: UInt32 = 0
    /// The offset of an extended reply, which repeats that of the request.
    var offset: UInt64?
    var dataOffset: UInt64?
    var data: [UInt8] = []
    var extents: [(length: UInt64, state: UInt64)] = []
}
