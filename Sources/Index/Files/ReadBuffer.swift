/// Owns a piece of uninitialised memory, aligned for any use, for as long as it lives.
///
/// This is where the target's raw memory comes from; whoever borrows `bytes` must not outlive the buffer.
struct ReadBuffer: ~Copyable {
    let bytes: UnsafeMutableRawBufferPointer

    init(count: Int) {
        bytes = .allocate(byteCount: count, alignment: 4096)
    }

    deinit { bytes.deallocate() }

    func prefix(_ count: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: bytes[..<count])
    }
}
