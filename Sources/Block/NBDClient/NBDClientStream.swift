import CLibNBD
import Glibc
import NBD
import Ring

/// Commands and answers on a socket in the clear, which libnbd has connected.
///
/// All commands of a loop's turn leave in one call, and one receive brings all answers that are there.
///
/// The link's handle is not used until the end of the connection. A connection that is lost counts as broken only once the ring
/// uses no buffer of a request any more.
final class NBDClientStream: NBDClientTransmission {
    /// Bytes of a payload that are worth a receive of their own, directly into the request's buffer.
    private static let longestCopy = 16 << 10
    /// Bytes of the socket's send buffer, as far as the system allows: the usual one takes a fifth of a write of 1 MiB.
    private static let sendBuffer: CInt = 4 << 20
    /// Bytes sent in one turn of the loop, so that other connections get theirs.
    private static let bytesPerTurn = 1 << 20
    /// Milliseconds until the kernel is asked again for memory.
    private static let pauseMilliseconds = 10

    private let handle: OpaquePointer
    private let socket: CInt
    private let isStructured: Bool
    private let allocationContext: UInt32?
    private let reader: NBDClientReader
    private let pause: LoopTimer
    private let receiveOperation: UnsafeMutablePointer<RingOperation>
    private let sendOperation: UnsafeMutablePointer<RingOperation>
    private var queue = NBDClientSendQueue()
    /// Reads in flight whose payloads are to be received on their own, and all other commands in flight.
    private var largeReads = 0
    private var otherCommands = 0
    private var isReceiving = false
    private var isSending = false
    /// Whether the loop is to call `turnCame`.
    private var isYielding = false
    /// The most bytes of the last receive into a loop's buffer.
    private var selectedCount = 0
    /// Whether the last receive into a loop's buffer left nothing behind.
    private var hasReceivedAll = false
    private var hasFailed = false
    private var isLeft = false
    private var isClosed = false

    init(_ link: NBDClientLink, _ connection: NBDClientConnection) {
        handle = link.handle
        socket = link.descriptor
        isStructured = link.isStructured
        allocationContext = link.allocationContext
        reader = NBDClientReader(connection.commands)
        pause = LoopTimer(loop: connection.loop)
        receiveOperation = .allocate(capacity: 1)
        sendOperation = .allocate(capacity: 1)
        super.init(connection)
        receiveOperation.initialize(to: RingOperation(handler: self))
        sendOperation.initialize(to: RingOperation(handler: self))
        enlargeSendBuffer()
    }

    /// Only for a Unix socket: TCP finds the size by itself.
    private func enlargeSendBuffer() {
        var name = sockaddr()
        var length = socklen_t(MemoryLayout<sockaddr>.size)
        guard getsockname(socket, &name, &length) == 0, CInt(name.sa_family) == AF_UNIX else { return }
        var count = Self.sendBuffer
        setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &count, socklen_t(MemoryLayout<CInt>.size))
    }

    deinit {
        receiveOperation.deallocate()
        sendOperation.deallocate()
        guard !isClosed else { return }
        // DISCONNECT has no answer to wait for.
        if !hasFailed, queue.isEmpty { nbd_aio_disconnect(handle, 0) }
        nbd_close(handle)
    }

    // MARK: The connection

    override var isBroken: Bool { hasFailed && !isReceiving && !isSending && !isClosed }

    override func hangUp() {
        guard !hasFailed, !isClosed else { return }
        hasFailed = true
        // The server's end can still be seen (`ClosingSocket`). What the ring does with the socket ends now.
        shutdown(socket, CInt(SHUT_WR))
        if isReceiving { connection.loop.cancel(receiveOperation) }
        if isSending { connection.loop.cancel(sendOperation) }
    }

    override func leave() {
        isLeft = true
        if isReceiving { connection.loop.cancel(receiveOperation) }
    }

    override func close() -> ClosingSocket? {
        guard !isClosed else { return nil }
        isClosed = true
        queue.removeAll()
        let closing = ClosingSocket(socket)
        nbd_close(handle)
        connection.commands.forEachInFlight { command in
            command.pointee.error = ENOTCONN
            connection.ended(command)
        }
        return closing
    }

    override func proceed() {
        guard !hasFailed, !isClosed, !pause.isArmed else { return }
        sendNow()
        if !isReceiving, !isLeft, !hasFailed, !pause.isArmed { receive() }
    }

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        if operation == receiveOperation {
            isReceiving = false
            received(result, inBuffer: operation.pointee.selectedBuffer)
        } else {
            isSending = false
            sent(result)
        }
        goOn()
    }

    override func turnCame() {
        isYielding = false
        goOn()
    }

    private func goOn() {
        connection.proceedAtBatchEnd()
        if !isReceiving, !isSending, !isYielding, !pause.isArmed { hold(false) }
    }

    /// Handles the failure of a call: it is repeated, or the connection is lost.
    private func failed(_ code: CInt) {
        switch code {
        case EINTR, EAGAIN:
            break
        case ENOBUFS, ENOMEM:
            // A lost connection would count acknowledged writes as lost.
            guard !pause.isArmed else { break }
            hold(true)
            pause.arm(milliseconds: Self.pauseMilliseconds) { [self] in goOn() }
        default:
            hangUp()
        }
    }

    // MARK: Sending

    override func begin(_ command: UnsafeMutablePointer<NBDClientCommand>, _ wire: NBDClientCommand.Wire) -> Bool {
        guard !hasFailed, !isClosed else { return false }
        command.pointee.use &+= 1
        command.pointee.header = CommandHeader(
            wire.command, wire.flags, cookie: command.pointee.cookie, offset: wire.offset, length: UInt32(wire.length))
        command.pointee.answer = CommandAnswer(
            wire.command, offset: wire.offset, length: wire.length, isStructured: isStructured,
            context: allocationContext)
        command.pointee.payload = wire.command == .write ? UnsafeRawPointer(wire.buffer) : nil
        command.pointee.payloadLength = wire.command == .write ? Int(wire.length) : 0
        command.pointee.room = wire.command == .read ? wire.buffer : nil
        command.pointee.state = .queued
        if Self.isLargeRead(command) { largeReads += 1 } else { otherCommands += 1 }
        queue.append(command)
        return true
    }

    private func sendNow() {
        var left = Self.bytesPerTurn
        while !isSending, !isYielding, !hasFailed, !pause.isArmed, !queue.isEmpty {
            guard left > 0 else { return sendNextTurn() }
            let count = queue.send(socket, limit: left)
            if count >= 0 {
                left -= count
                didSend(count)
            } else if errno == EAGAIN {
                sendLater()
            } else {
                failed(errno)
            }
        }
    }

    private func sendNextTurn() {
        isYielding = true
        hold(true)
        connection.loop.atNextTurn(self)
    }

    private func sendLater() {
        isSending = true
        hold(true)
        let part = queue.firstPart
        connection.loop.send(socket, from: part.base, count: part.count, sendOperation)
    }

    private func sent(_ result: Int32) {
        if result > 0 { didSend(Int(result)) } else { failed(-result) }
    }

    private func didSend(_ count: Int) {
        let connection = connection
        queue.didSend(count) { command in
            let isAnswered = command.pointee.state == .answeredEarly
            command.pointee.state = .sent
            if isAnswered { connection.ended(command) }
        }
    }

    // MARK: Receiving

    private func receive() {
        isReceiving = true
        hold(true)
        if case .payload(_, let to, let left, _) = reader.awaited, left >= Self.longestCopy {
            connection.loop.receive(socket, into: to, count: left, waitForAll: true, receiveOperation)
        } else {
            selectedCount = reader.receiveCount(hasOnlyLargeReads: largeReads > 0 && otherCommands == 0)
            connection.loop.receiveSelected(
                socket, count: selectedCount, isLikelyEmpty: hasReceivedAll, receiveOperation)
        }
    }

    private static func isLargeRead(_ command: UnsafeMutablePointer<NBDClientCommand>) -> Bool {
        command.pointee.room != nil && command.pointee.piece >= ReceiveBuffers.length
    }

    private func received(_ result: Int32, inBuffer number: Int) {
        if number >= 0 {
            hasReceivedAll = result < selectedCount
            if result > 0, !hasFailed {
                let bytes = UnsafeRawBufferPointer(
                    start: connection.loop.receiveBuffers.bytes(of: number), count: Int(result))
                let sending = isSending ? queue.first : nil
                if !reader.consume(bytes, sending: sending, ended: { didEnd($0) }) { hangUp() }
            }
            connection.loop.receiveBuffers.give(number)
        } else if result > 0, !hasFailed {
            reader.didReceive(Int(result)) { didEnd($0) }
        }
        // ENOBUFS: all of the loop's buffers were in use.
        if result <= 0, result != -ENOBUFS, !isLeft { failed(-result) }
    }

    private func didEnd(_ command: UnsafeMutablePointer<NBDClientCommand>) {
        if Self.isLargeRead(command) { largeReads -= 1 } else { otherCommands -= 1 }
        if command.pointee.state == .queued {
            command.pointee.state = .answeredEarly
        } else {
            connection.ended(command)
        }
    }
}
