/// Reads the bytes that a QEMU sends on one connection of a live migration.
struct QEMUStreamReader: StreamReader {
    private var channel = QEMUChannel.undecided
    private var main = QEMUMainChannel()
    private var multifd = QEMUMultifdChannel()

    var stage: MemoryStage { main.stage }

    mutating func next(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        switch channel {
        case .main: main.next(bytes)
        case .multifd: multifd.next(bytes)
        case .opaque: .bytes(bytes.count)
        case .undecided: begin(bytes)
        }
    }

    /// Finds out what kind of channel this is.
    private mutating func begin(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= QEMUChannel.tellingBytes else { return .more }
        let word = bytes.bigEndian(UInt64.self, at: 0)
        switch UInt32(word >> 32) {
        case QEMUChannel.mainMagic: channel = .main
        case QEMUMultifdChannel.magic: channel = .multifd
        default:
            if QEMUChannel.isEncrypted(word) { return .problem(.encrypted) }
            guard QEMUChannel.isReturnPath(word) || beginWithoutMagic(word) else {
                return .problem(.unknownStream(word))
            }
        }
        if channel == .undecided { channel = .opaque }
        return next(bytes)
    }

    /// Two kinds of main channels have no magic number.
    private mutating func beginWithoutMagic(_ word: UInt64) -> Bool {
        if QEMUChannel.isResumption(word) {
            main = QEMUMainChannel(.resumed)
        } else if QEMURAMFlags.mayBegin(with: word) {
            main = QEMUMainChannel(.preempt)
        } else {
            return false
        }
        channel = .main
        return true
    }
}
