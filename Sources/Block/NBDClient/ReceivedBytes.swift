import CLibNBD

/// Counts the bytes of one read: a server may report success and leave bytes out.
final class ReceivedBytes {
    private(set) var count = 0

    /// The callback for the parts of the answer, which keeps this object alive.
    func callback() -> nbd_chunk_callback {
        nbd_chunk_callback(
            callback: { context, _, count, _, status, _ in
                let received = Unmanaged<ReceivedBytes>.fromOpaque(context!).takeUnretainedValue()
                if status != UInt32(LIBNBD_READ_ERROR) { received.count += count }
                return 0
            },
            user_data: Unmanaged.passRetained(self).toOpaque(),
            free: { Unmanaged<ReceivedBytes>.fromOpaque($0!).release() })
    }
}
