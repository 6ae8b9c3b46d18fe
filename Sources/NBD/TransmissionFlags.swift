/// The abilities of an export, as told to the client. Protocol text, "Transmission flags".
struct TransmissionFlags: OptionSet {
    let rawValue: UInt16

    static let hasFlags = TransmissionFlags(rawValue: 1 << 0)
    static let readOnly = TransmissionFlags(rawValue: 1 << 1)
    static let sendsFlush = TransmissionFlags(rawValue: 1 << 2)
    static let sendsForceUnitAccess = TransmissionFlags(rawValue: 1 << 3)
    static let rotational = TransmissionFlags(rawValue: 1 << 4)
    static let sendsTrim = TransmissionFlags(rawValue: 1 << 5)
    static let sendsWriteZeroes = TransmissionFlags(rawValue: 1 << 6)
    static let sendsDoNotFragment = TransmissionFlags(rawValue: 1 << 7)
    static let canMultiConnect = TransmissionFlags(rawValue: 1 << 8)
    static let sendsCache = TransmissionFlags(rawValue: 1 << 10)
    static let sendsFastZero = TransmissionFlags(rawValue: 1 << 11)
}
