import CLinux
import Glibc
import NIOCore
import PeerModel

extension Channel {
    /// Makes the kernel measure the path (BBR) instead of taking every loss for congestion, which also keeps the routers'
    /// buffers empty. Without BBR in the kernel, the system's default stays. tcp(7), TCP_CONGESTION.
    func preferBBR() {
        let name: (UInt8, UInt8, UInt8, UInt8) = (UInt8(ascii: "b"), UInt8(ascii: "b"), UInt8(ascii: "r"), 0)
        (self as? any SocketOptionProvider)?.unsafeSetSocketOption(
            level: .tcp, name: NIOBSDSocket.Option(rawValue: TCP_CONGESTION), value: name
        ).whenFailure { _ in }
    }

    /// Returns TCP's measurements of the path.
    /// - Throws: if the channel is closed, or no socket.
    func path() async throws -> PathState {
        guard let socket = self as? any SocketOptionProvider else { throw PeerError.cut }
        var info: linux_tcp_info = try await socket.unsafeGetSocketOption(
            level: .tcp, name: NIOBSDSocket.Option(rawValue: TCP_INFO)
        ).get()
        return PathState(
            roundTrip: .microseconds(Int64(linux_round_trip(&info))),
            shortestRoundTrip: .microseconds(Int64(linux_shortest_round_trip(&info))),
            bytesPerSecond: linux_delivery_rate(&info), acknowledged: linux_acknowledged(&info),
            unsent: UInt64(linux_unsent(&info)))
    }

    /// Limits the rate at which the kernel sends.
    /// - Parameter bytesPerSecond: nil for no limit.
    /// - Throws: if the channel is closed, or no socket.
    func limitPace(bytesPerSecond: UInt64?) async throws {
        guard let socket = self as? any SocketOptionProvider else { throw PeerError.cut }
        try await socket.unsafeSetSocketOption(
            level: .socket, name: NIOBSDSocket.Option(rawValue: SO_MAX_PACING_RATE), value: bytesPerSecond ?? .max
        ).get()
    }
}
