import CLiburing
import Glibc

/// The operations of a loop, for its own thread only. Each takes the address of a `RingOperation`; that struct and the
/// buffers must stay in place until its handler is called.
extension EventLoop {
    /// One `accept4(2)`; completes with the new descriptor.
    public func accept(_ socket: CInt, _ operation: UnsafeMutablePointer<RingOperation>) {
        submit(operation) {
            io_uring_prep_accept($0, socket, nil, nil, CInt(SOCK_CLOEXEC.rawValue))
        }
    }

    /// `recv(2)` of at least one byte, or of all `count` bytes with `waitForAll`.
    public func receive(
        _ socket: CInt, into buffer: UnsafeMutableRawPointer, count: Int, waitForAll: Bool = false,
        _ operation: UnsafeMutablePointer<RingOperation>
    ) {
        submit(operation) {
            io_uring_prep_recv($0, socket, buffer, count, waitForAll ? CInt(MSG_WAITALL) : 0)
        }
    }

    /// `recv(2)` into one of the loop's `receiveBuffers`; the operation then holds the buffer's number.
    /// - Parameters:
    ///   - count: the most bytes, up to `ReceiveBuffers.length`.
    ///   - isLikelyEmpty: a hint that no bytes have arrived yet, so that the kernel polls first.
    public func receiveSelected(
        _ socket: CInt, count: Int, isLikelyEmpty: Bool, _ operation: UnsafeMutablePointer<RingOperation>
    ) {
        submit(operation) {
            io_uring_prep_recv($0, socket, nil, count, 0)
            $0.pointee.flags |= UInt8(1 << IOSQE_BUFFER_SELECT_BIT)
            $0.pointee.buf_group = UInt16(ReceiveBuffers.group)
            if isLikelyEmpty { $0.pointee.ioprio |= UInt16(IORING_RECVSEND_POLL_FIRST) }
        }
    }

    /// `send(2)` of all `count` bytes; completes with fewer only on an error or a hang-up.
    public func send(
        _ socket: CInt, from buffer: UnsafeRawPointer, count: Int, _ operation: UnsafeMutablePointer<RingOperation>
    ) {
        submit(operation) {
            io_uring_prep_send($0, socket, buffer, count, CInt(MSG_NOSIGNAL) | CInt(MSG_WAITALL))
        }
    }

    /// `pread(2)`.
    /// - Parameter byWorker: a worker thread of the ring does the whole read, with the read-ahead of the kernel.
    ///   Otherwise the read continues page by page as pages arrive.
    public func read(
        _ descriptor: CInt, into buffer: UnsafeMutableRawPointer, count: Int, at offset: UInt64, byWorker: Bool = false,
        _ operation: UnsafeMutablePointer<RingOperation>
    ) {
        submit(operation) {
            io_uring_prep_read($0, descriptor, buffer, UInt32(count), offset)
            if byWorker { $0.pointee.flags |= UInt8(1 << IOSQE_ASYNC_BIT) }
        }
    }

    /// `pwritev2(2)` with `flags` of the `RWF_` kind.
    public func write(
        _ descriptor: CInt, from buffer: UnsafeRawPointer, count: Int, at offset: UInt64, flags: CInt,
        _ operation: UnsafeMutablePointer<RingOperation>
    ) {
        submit(operation) {
            io_uring_prep_write($0, descriptor, buffer, UInt32(count), offset)
            $0.pointee.rw_flags = flags
        }
    }

    /// `fdatasync(2)`.
    public func synchronize(_ descriptor: CInt, _ operation: UnsafeMutablePointer<RingOperation>) {
        submit(operation) { io_uring_prep_fsync($0, descriptor, UInt32(IORING_FSYNC_DATASYNC)) }
    }

    /// `fallocate(2)`.
    public func allocate(
        _ descriptor: CInt, mode: CInt, at offset: UInt64, length: UInt64,
        _ operation: UnsafeMutablePointer<RingOperation>
    ) {
        submit(operation) { io_uring_prep_fallocate($0, descriptor, mode, off_t(offset), off_t(length)) }
    }

    /// `poll(2)` of one descriptor, once; completes with the events.
    public func poll(_ descriptor: CInt, events: UInt32, _ operation: UnsafeMutablePointer<RingOperation>) {
        submit(operation) { io_uring_prep_poll_add($0, descriptor, events) }
    }

    /// `posix_fadvise(2)`, POSIX_FADV_WILLNEED.
    public func readAhead(
        _ descriptor: CInt, at offset: UInt64, length: UInt32, _ operation: UnsafeMutablePointer<RingOperation>
    ) {
        submit(operation) { io_uring_prep_fadvise($0, descriptor, offset, off_t(length), POSIX_FADV_WILLNEED) }
    }

    /// Completes with `-ETIME` after `time`.
    func timeout(
        after time: UnsafeMutablePointer<__kernel_timespec>, _ operation: UnsafeMutablePointer<RingOperation>
    ) {
        submit(operation) { io_uring_prep_timeout($0, time, 0, 0) }
    }

    /// Asks the kernel to end an operation early; its handler is still called, usually with `-ECANCELED`.
    public func cancel(_ operation: UnsafeMutablePointer<RingOperation>) {
        submitUnobserved { io_uring_prep_cancel($0, operation, 0) }
    }
}
