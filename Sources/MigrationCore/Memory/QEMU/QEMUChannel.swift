/// The kinds of connections that a migration makes, which their first bytes tell.
enum QEMUChannel: Equatable, Sendable {
    case undecided
    /// The only channel, unless capabilities add others.
    case main
    case multifd
    /// Nothing is looked for: the answers of a destination, or a stream that is not understood.
    case opaque

    /// Bytes that tell the kind.
    static let tellingBytes = 8

    /// The bytes `QEVM`, with which a main channel begins (migration/savevm.h).
    static let mainMagic: UInt32 = 0x5145_564d

    /// A record of TLS with a handshake.
    static func isEncrypted(_ word: UInt64) -> Bool { word >> 48 == 0x1603 }

    /// An answer of the destination: number and length of a message (migration/migration.h, `enum mig_rp_message_type`).
    static func isReturnPath(_ word: UInt64) -> Bool {
        (1...7).contains(word >> 48) && word >> 32 & 0xffff <= 512
    }

    /// A command, with which a post-copy is resumed.
    static func isResumption(_ word: UInt64) -> Bool {
        UInt8(word >> 56) == QEMUElement.command.rawValue
            && QEMUCommand.mayHave(
                number: UInt16(truncatingIfNeeded: word >> 40), length: UInt16(truncatingIfNeeded: word >> 24))
    }
}
