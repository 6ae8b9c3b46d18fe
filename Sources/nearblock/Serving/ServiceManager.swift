import Foundation

/// Tells systemd how this process is, where it wants to know; sd_notify(3).
enum ServiceManager {
    /// - Parameter state: such as `READY=1`.
    static func tell(_ state: String) {
        guard let path = ProcessInfo.processInfo.environment["NOTIFY_SOCKET"], !path.isEmpty else { return }
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: name.sun_path) else { return }
        withUnsafeMutableBytes(of: &name.sun_path) {
            $0.copyBytes(from: path.utf8)
            // An abstract name begins with a zero byte, which the environment can't hold.
            if path.hasPrefix("@") { $0[0] = 0 }
        }
        let descriptor = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let length = MemoryLayout<sa_family_t>.size + path.utf8.count
        _ = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, state, state.utf8.count, CInt(MSG_NOSIGNAL), $0, socklen_t(length))
            }
        }
    }
}
