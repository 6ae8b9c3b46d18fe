import Glibc
import NIOCore
import NIOPosix
import Peer

/// A connection with a hypervisor over a Unix socket.
typealias HypervisorChannel = NIOAsyncChannel<ByteBuffer, ByteBuffer>

extension HypervisorChannel {
    /// Wraps a channel that was accepted or connected; on its event loop.
    static func wrap(_ channel: any Channel) throws -> HypervisorChannel {
        // A hypervisor may end its direction and still read.
        try channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
        return try HypervisorChannel(
            wrappingChannelSynchronously: channel,
            configuration: .init(
                backPressureStrategy: .init(lowWatermark: 1, highWatermark: 4), isOutboundHalfClosureEnabled: true))
    }

    /// Writes bytes, and returns once the kernel has all of them.
    /// - Throws: if the hypervisor has hung up.
    func writeWhole(_ bytes: ByteBuffer) async throws {
        try await withTaskCancellationHandler {
            try await channel.writeAndFlush(bytes).get()
        } onCancel: {
            channel.close(promise: nil)
        }
    }
}
