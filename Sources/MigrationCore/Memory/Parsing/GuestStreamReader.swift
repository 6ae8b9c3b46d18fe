/// Reads what any known hypervisor sends. The first bytes tell which one it is.
struct GuestStreamReader: StreamReader {
    private enum Hypervisor {
        case undecided, qemu, xen
    }

    /// Bytes that tell the hypervisor.
    private static let tellingBytes = 8

    private var hypervisor = Hypervisor.undecided
    private var qemu = QEMUStreamReader()
    private var xen = XenStreamReader()

    var stage: MemoryStage { hypervisor == .qemu ? qemu.stage : .preCopy }

    mutating func next(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        switch hypervisor {
        case .qemu: return qemu.next(bytes)
        case .xen: return xen.next(bytes)
        case .undecided:
            guard bytes.count >= Self.tellingBytes else { return .more }
            let isXen = XenStreamReader.mayBegin(with: bytes.bigEndian(UInt64.self, at: 0))
            hypervisor = isXen ? .xen : .qemu
            return next(bytes)
        }
    }
}
