/// Numbers of the NBD protocol on the wire; all are big-endian there. Source: `doc/proto.md` of
/// NetworkBlockDevice/nbd, "Values".
public enum Wire {
    static let magic: UInt64 = 0x4e42_444d_4147_4943
    static let optionMagic: UInt64 = 0x4948_4156_454f_5054
    static let optionReplyMagic: UInt64 = 0x0003_e889_0455_65a9
    static let requestMagic: UInt32 = 0x2560_9513
    static let extendedRequestMagic: UInt32 = 0x21e4_1c71
    static let simpleReplyMagic: UInt32 = 0x6744_6698
    static let structuredReplyMagic: UInt32 = 0x668e_33ef
    static let extendedReplyMagic: UInt32 = 0x6e8a_278c
    static let replyFlagDone: UInt16 = 1

    /// The longest payload of a read or write, in bytes, as advertised to clients that ask.
    public static let maximumPayload = 32 << 20
    /// The longest payload that is served, in bytes: clients that do not ask use nbdkit's limit.
    public static let longestPayload = 64 << 20
    /// The size of requests, in bytes, that the server recommends.
    public static let preferredBlockSize: UInt32 = 4096

    static let clientFixedNewstyle: UInt32 = 1
    static let clientNoZeroes: UInt32 = 2
    static let handshakeFlags: UInt16 = 1 | 2
    /// The longest string of the protocol, in bytes. Option payloads that are longer than such strings need are
    /// refused unread.
    static let maximumString = 4096
    static let maximumOptionPayload = 64 << 10
    /// Options that every connection may send before it chooses an export.
    static let maximumOptions = 1024
    /// Options that a connection may send for each export, if that makes more: nbdinfo and qemu-nbd send two or three.
    static let optionsPerExport = 8
    /// Bytes of answers after which the client must read some before more are prepared.
    static let enoughOutput = 64 << 10
}
