import NIOCore
import NIOTLS
import TLS

/// Encrypts a connection: plaintext above it in the pipeline, ciphertext below it.
///
/// 1. Handshake: `TLSUserEvent.handshakeCompleted` follows once each side knows the other; what is written waits. 2. Open.
/// 3. Closing, once this side closes: flushed bytes are sent, then this side's word that the stream is complete
/// (close_notify). All of that and the other side's answer have `closeLimit` together; what the socket has not taken by then
/// is lost. 4. Closed: by both sides' words, by a failure, or because the socket has gone.
///
/// A failure is a `TLSFailure` in `errorCaught`; so is a stream that ends without the other side's word. The channel must
/// read by itself (autoRead), and must not let the other side close one direction only.
///
/// Memory: what was written waits as it is, and is encrypted by the batch, as the socket takes it.
final class TLSHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum State {
        case handshaking
        case open
        case closing
        case closed
    }

    /// Bytes of ciphertext on each side of OpenSSL: two records.
    private static let bufferSize = 34 << 10
    /// Bytes of ciphertext that are given to the socket at once; few enough to stay in the processor's cache.
    private static let batchSize = 128 << 10
    /// A record of TLS: its most bytes of plaintext, and what encryption adds to it.
    private static let record = (bytes: 16 << 10, more: 64)
    /// The longest time that the end of a connection waits for the peer to agree to it.
    private static let closeLimit = TimeAmount.seconds(1)

    private let tls: TLSChannel
    private var state = State.handshaking
    /// Written plaintext that is not encrypted yet; the mark is the last flush.
    private var waiting = MarkedCircularBuffer<(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)>(
        initialCapacity: 8)
    private var isSending = false
    /// The writability that the handlers above know of.
    private var isToldWritable = true
    private var hasSaidGoodbye = false
    private var closePromise: EventLoopPromise<Void>?
    private var closeDeadline: Scheduled<Void>?

    /// A server's end.
    init(server context: TLSContext) {
        tls = TLSChannel(context: context, inputSize: Self.bufferSize, outputSize: Self.bufferSize)
    }

    /// A client's end.
    /// - Parameter name: the name that the server's certificate must have.
    /// - Throws: `TLSError` where no certificate can have it.
    init(client context: TLSContext, connectingTo name: TLSName) throws {
        tls = try TLSChannel(
            context: context, connectingTo: name, inputSize: Self.bufferSize, outputSize: Self.bufferSize)
    }

    /// The peer's certificate, in DER; nil before the handshake is over.
    var peerCertificate: [UInt8]? { tls.peerCertificate }

    // MARK: - The life of the channel

    func handlerAdded(context: ChannelHandlerContext) {
        isToldWritable = context.channel.isWritable
        if context.channel.isActive { advance(context, ByteBuffer()) }
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        advance(context, ByteBuffer())
    }

    func channelInactive(context: ChannelHandlerContext) {
        let before = state
        state = .closed
        switch before {
        case .handshaking: context.fireErrorCaught(TLSFailure.endedInHandshake)
        case .open: context.fireErrorCaught(TLSFailure.truncated)
        // This side has said that it needs nothing more.
        case .closing, .closed: break
        }
        release()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        state = .closed
        release()
    }

    /// Fails what will never be sent, and tells who waits for the end.
    private func release() {
        closeDeadline?.cancel()
        closeDeadline = nil
        while let write = waiting.popFirst() { write.promise?.fail(ChannelError.ioOnClosedChannel) }
        let promise = closePromise
        closePromise = nil
        promise?.succeed()
    }

    // MARK: - Receiving

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        advance(context, Self.unwrapInboundIn(data))
    }

    /// Takes ciphertext, and does all that it makes possible. Everything is decrypted before anybody above hears of it,
    /// because they may write, close or abort in answer.
    private func advance(_ context: ChannelHandlerContext, _ ciphertext: ByteBuffer) {
        guard state != .closed else { return }
        var plaintext = context.channel.allocator.buffer(capacity: ciphertext.readableBytes)
        let outcome = decrypt(context, ciphertext, into: &plaintext)
        if outcome != .failed { sendOutput(context) }
        if state == .handshaking, tls.isEstablished {
            state = .open
            context.fireUserInboundEventTriggered(TLSUserEvent.handshakeCompleted(negotiatedProtocol: nil))
        }
        if state != .closed, plaintext.readableBytes > 0 {
            context.fireChannelRead(Self.wrapInboundOut(plaintext))
        }
        switch outcome {
        case .closed: answerGoodbye(context)
        case .failed: fail(context)
        case .done, .needsInput, .needsRoom: sendWaiting(context)
        }
    }

    /// - Returns: `needsInput`, `closed` or `failed`.
    private func decrypt(
        _ context: ChannelHandlerContext, _ ciphertext: ByteBuffer, into plaintext: inout ByteBuffer
    ) -> TLSOutcome {
        var ciphertext = ciphertext
        while true {
            let received = tls.receive(&ciphertext)
            let outcome = tls.read(into: &plaintext)
            switch outcome {
            case .done: continue
            case .needsInput where ciphertext.readableBytes == 0: return .needsInput
            case .needsInput where received > 0: continue
            case .needsRoom where sendOutput(context): continue
            case .closed: return .closed
            // Without progress there is none to be expected.
            case .failed, .needsInput, .needsRoom: return .failed
            }
        }
    }

    // MARK: - Sending

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch state {
        case .handshaking, .open: waiting.append((Self.unwrapOutboundIn(data), promise))
        case .closing, .closed: promise?.fail(ChannelError.ioOnClosedChannel)
        }
    }

    func flush(context: ChannelHandlerContext) {
        waiting.mark()
        sendWaiting(context)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        sendWaiting(context)
    }

    /// Encrypts and sends what was flushed, as long as the socket takes it. The rest follows when the socket has room.
    private func sendWaiting(_ context: ChannelHandlerContext) {
        // Sending may call back here; the loop below then sees what is new.
        guard !isSending else { return }
        isSending = true
        while state == .open || state == .closing, waiting.hasMark, context.channel.isWritable {
            guard sendBatch(context) else { break }
        }
        isSending = false
        if state == .closing, !waiting.hasMark { sayGoodbye(context) }
        tellWritability(context)
    }

    /// - Returns: false where nothing more can be sent now.
    private func sendBatch(_ context: ChannelHandlerContext) -> Bool {
        var batch = context.channel.allocator.buffer(capacity: Self.capacity(for: waiting[waiting.startIndex].bytes))
        var promises: [EventLoopPromise<Void>] = []
        var outcome = TLSOutcome.done(0)
        while waiting.hasMark, batch.readableBytes + Self.record.bytes + Self.record.more <= Self.batchSize {
            let first = waiting.startIndex
            if waiting[first].bytes.readableBytes > 0 {
                outcome = tls.write(from: &waiting[first].bytes)
                let hasOutput = tls.takeOutput(into: &batch)
                // There is room now.
                if outcome == .needsRoom, hasOutput { outcome = .done(0) }
                guard case .done = outcome else { break }
            }
            if waiting[first].bytes.readableBytes == 0, let promise = waiting.removeFirst().promise {
                promises.append(promise)
            }
        }
        context.write(Self.wrapOutboundOut(batch), promise: Self.all(promises, on: context.eventLoop))
        switch outcome {
        case .done:
            context.flush()
            return true
        case .needsInput, .closed:
            context.flush()
            return false
        case .needsRoom, .failed:
            fail(context)
            return false
        }
    }

    /// The bytes that a batch which begins with this write will have, as far as is known.
    private static func capacity(for first: ByteBuffer) -> Int {
        let records = first.readableBytes / record.bytes + 1
        return min(batchSize, first.readableBytes + records * record.more)
    }

    /// Makes one promise of several; nil of none.
    private static func all(
        _ promises: [EventLoopPromise<Void>], on loop: any EventLoop
    ) -> EventLoopPromise<Void>? {
        guard promises.count > 1 else { return promises.first }
        let one = loop.makePromise(of: Void.self)
        for promise in promises { one.futureResult.cascade(to: promise) }
        return one
    }

    /// The handlers above may write as long as the socket has room and nothing waits here.
    private func tellWritability(_ context: ChannelHandlerContext) {
        guard !isSending, state != .closed else { return }
        let isWritable = context.channel.isWritable
        guard isWritable != isToldWritable, !isWritable || !waiting.hasMark else { return }
        isToldWritable = isWritable
        context.fireChannelWritabilityChanged()
    }

    /// Sends what TLS itself has to say.
    /// - Returns: whether there was anything.
    @discardableResult
    private func sendOutput(_ context: ChannelHandlerContext) -> Bool {
        guard writeOutput(context) else { return false }
        context.flush()
        return true
    }

    private func writeOutput(_ context: ChannelHandlerContext) -> Bool {
        guard !tls.output.isEmpty else { return false }
        var ciphertext = context.channel.allocator.buffer(capacity: tls.output.count)
        _ = tls.takeOutput(into: &ciphertext)
        context.write(Self.wrapOutboundOut(ciphertext), promise: nil)
        return true
    }

    // MARK: - The end

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard mode == .all else {
            promise?.fail(ChannelError.operationUnsupported)
            return
        }
        switch state {
        case .handshaking, .closed:
            // Before the handshake is over nothing can be said in a way that the peer could trust.
            state = .closed
            release()
            context.close(promise: promise)
        case .open:
            state = .closing
            closePromise = promise
            let channel = context.channel
            closeDeadline = context.eventLoop.scheduleTask(in: Self.closeLimit) { channel.abortConnection() }
            sendWaiting(context)
        case .closing:
            if let closePromise { closePromise.futureResult.cascade(to: promise) } else { closePromise = promise }
        }
    }

    /// Says that this side's stream is complete; the peer's answer ends the connection.
    private func sayGoodbye(_ context: ChannelHandlerContext) {
        guard !hasSaidGoodbye else { return }
        hasSaidGoodbye = true
        tls.close()
        sendOutput(context)
    }

    /// The peer's stream is complete, and it wants no more of this side's.
    private func answerGoodbye(_ context: ChannelHandlerContext) {
        guard state != .closed else { return }
        state = .closed
        if !hasSaidGoodbye { tls.close() }
        sendOutput(context)
        end(context)
    }

    private func fail(_ context: ChannelHandlerContext) {
        guard state != .closed else { return }
        state = .closed
        // The reason for the peer is written first, because handlers above may close at once. It is flushed last,
        // because a socket that has gone would be reported as another failure.
        _ = writeOutput(context)
        context.fireErrorCaught(tls.failure ?? .other("TLS makes no progress"))
        context.flush()
        end(context)
    }

    private func end(_ context: ChannelHandlerContext) {
        let promise = closePromise
        closePromise = nil
        release()
        context.close(promise: promise)
    }
}
