import Foundation
import Glibc
import NIOCore
import NIOFoundationCompat
import NIOPosix

/// Client of a node's control socket.
public enum ControlClient {
    private static let maximumLine = 4 << 20

    /// Sends a request and returns the final reply.
    /// - Parameter progress: Called for each `progress`, `trimming` or `placed` reply before it.
    /// - Throws: `ControlError` if no node answers.
    public static func ask(
        _ request: ControlRequest, at path: String, progress: (@Sendable (ControlReply) -> Void)? = nil
    ) async throws -> ControlReply {
        let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>
        do {
            channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(unixDomainSocketPath: path) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try NIOAsyncChannel(wrappingChannelSynchronously: channel)
                    }
                }
        } catch {
            if let code = (error as? IOError)?.errnoCode, code == EACCES || code == EPERM {
                throw ControlError.denied(path: path)
            }
            let reason = error.plainReason
            throw ControlError.unreachable(path: path, reason: reason)
        }
        do { return try await ask(request, at: path, over: channel, progress) } catch is IOError {
            // A node that was killed resets the connection.
            throw ControlError.ended
        }
    }

    private static func ask(
        _ request: ControlRequest, at path: String, over channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>,
        _ progress: (@Sendable (ControlReply) -> Void)?
    ) async throws -> ControlReply {
        try await channel.executeThenClose { inbound, outbound in
            var line = ByteBuffer(data: try JSONEncoder().encode(request))
            line.writeInteger(UInt8(ascii: "\n"))
            try await outbound.write(line)
            for try await answer in inbound.splitLines(maximumBufferSize: maximumLine) {
                guard let reply = try? JSONDecoder().decode(ControlReply.self, from: answer) else {
                    throw ControlError.notControl(path: path)
                }
                switch reply {
                case .progress, .trimming, .placed: progress?(reply)
                default: return reply
                }
            }
            throw ControlError.ended
        }
    }
}
