import CLibNBD
import Glibc
import NBD

/// Notes the parts of one read: a server may report success and leave bytes out.
final class ReceivedBytes {
    private let offset: UInt64
    private let count: UInt64
    private var coverage = ReadCoverage()

    /// - Parameter offset: where the read begins on the disk, in bytes.
    init(_ offset: UInt64, count: UInt64) {
        self.offset = offset
        self.count = count
    }

    /// Whether every byte has come.
    var isWhole: Bool { coverage.isWhole(count) }

    /// The callback for the parts of the answer, which keeps this object alive.
    func callback() -> nbd_chunk_callback {
        nbd_chunk_callback(
            callback: { context, _, count, offset, status, error in
                let received = Unmanaged<ReceivedBytes>.fromOpaque(context!).takeUnretainedValue()
                guard status != UInt32(LIBNBD_READ_ERROR) else { return 0 }
                if received.add(offset, UInt64(count)) { return 0 }
                error!.pointee = EIO
                return -1
            },
            user_data: Unmanaged.passRetained(self).toOpaque(),
            free: { Unmanaged<ReceivedBytes>.fromOpaque($0!).release() })
    }

    private func add(_ start: UInt64, _ length: UInt64) -> Bool {
        guard start >= offset, start - offset <= count, length <= count - (start - offset) else { return false }
        return coverage.add(start - offset..<start - offset + length)
    }
}
