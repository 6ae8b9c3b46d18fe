import Glibc
import PeerModel

/// Decides whether a request's Host header names this server.
///
/// A page of another site can have its own name resolved to this machine's address (DNS rebinding), and then read
/// answers as its own. The browser still sends that site's name. An address in its place can't be such a name.
public struct HostRule: Sendable {
    /// How strict a server is.
    public enum Scope: Sendable {
        /// Any header, or none: a Unix socket, which browsers don't reach.
        case any
        /// An address, or one of the names.
        case addressesAndNames
        /// A loopback address, or one of the names.
        case loopbackAndNames
    }

    private let scope: Scope
    private let names: Set<String>

    /// Creates a rule.
    /// - Parameter names: allowed host names, in any case; `localhost` always is one.
    public init(_ scope: Scope, names: [String] = []) {
        self.scope = scope
        self.names = Set(names.map { $0.lowercased() } + ["localhost"])
    }

    /// Returns whether a request may be answered.
    /// - Parameter headers: the values of all its Host headers.
    public func allows(_ headers: [String]) -> Bool {
        if scope == .any { return true }
        guard headers.count == 1, let host = Self.host(of: headers[0]) else { return false }
        if names.contains(host) { return true }
        return switch scope {
        case .any: true
        case .addressesAndNames: Self.isAddress(host)
        case .loopbackAndNames: Self.isAddress(host) && PeerAddress(host: host, port: 1).isLoopback
        }
    }

    /// The host of `HOST`, `HOST:PORT` or `[IPV6]:PORT`, in lower case; nil if it is none of these.
    private static func host(of header: String) -> String? {
        if header.hasPrefix("[") {
            guard let end = header.lastIndex(of: "]"), isPort(header[header.index(after: end)...]) else { return nil }
            return header[header.index(after: header.startIndex)..<end].lowercased()
        }
        let colon = header.firstIndex(of: ":") ?? header.endIndex
        guard isPort(header[colon...]), colon > header.startIndex else { return nil }
        var host = header[..<colon].lowercased()
        // A name may end with the root's dot.
        if host.hasSuffix(".") { host.removeLast() }
        return host
    }

    private static func isPort(_ text: Substring) -> Bool {
        text.isEmpty || (text.first == ":" && text.dropFirst().allSatisfy { $0.isASCII && $0.isNumber })
    }

    private static func isAddress(_ host: String) -> Bool {
        var v4 = in_addr()
        var v6 = in6_addr()
        return inet_pton(AF_INET, host, &v4) == 1 || inet_pton(AF_INET6, host, &v6) == 1
    }
}
