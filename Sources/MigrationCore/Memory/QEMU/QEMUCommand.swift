/// The commands to the destination that matter here, or whose lengths are known (migration/savevm.c, `enum qemu_vm_cmd`).
enum QEMUCommand: UInt16, Sendable {
    case openReturnPath = 1
    case ping
    /// Post-copy may follow. If it is to copy memory, the command has the guest's page size.
    case adviseOfPostcopy
    case listen
    case run
    case discard
    /// The command has the length of an element stream that follows: the devices, for post-copy.
    case packaged
    case enableCOLO
    case resume
    case receivedBitmap
    case startSwitchover

    /// Bytes of the type, the number and the length.
    static let headerBytes = 5

    /// Whether a command of this length exists.
    static func mayHave(number: UInt16, length: UInt16) -> Bool {
        switch QEMUCommand(rawValue: number) {
        case .openReturnPath, .listen, .run, .enableCOLO, .resume, .startSwitchover: length == 0
        case .ping, .packaged: length == 4
        case .adviseOfPostcopy: length == 0 || length == 16
        case .discard, .receivedBitmap: length > 1
        case nil: false
        }
    }
}
