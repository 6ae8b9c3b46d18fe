import Glibc
import NIOCore

extension Channel {
    /// Has the kernel measure the path (BBR) instead of taking every loss for congestion, and keep the routers' buffers empty,
    /// where it can; otherwise all stays as the system has it. tcp(7), TCP_CONGESTION.
    func preferBBR() {
        let name: (UInt8, UInt8, UInt8, UInt8) = (UInt8(ascii: "b"), UInt8(ascii: "b"), UInt8(ascii: "r"), 0)
        (self as? any SocketOptionProvider)?.unsafeSetSocketOption(
            level: .tcp, name: NIOBSDSocket.Option(rawValue: TCP_CONGESTION), value: name
        ).whenFailure { _ in }
    }
}
