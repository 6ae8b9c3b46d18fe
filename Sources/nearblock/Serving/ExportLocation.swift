import Foundation
import NBDServer

/// How a client on this host gets at an export.
struct ExportLocation {
    let address: ListenAddress
    let export: String
    let isEncrypted: Bool

    /// As the NBD project writes it; nil where there is no URI for such an address.
    var uri: String? {
        let scheme = isEncrypted ? "nbds" : "nbd"
        let name = Self.escape(export)
        switch address {
        case .unix(let path): return "\(scheme)+unix:///\(name)?socket=\(Self.escape(path))"
        case .tcp: return "\(scheme)://\(address)/\(name)"
        case .vsock(let port): return "\(scheme)+vsock://1:\(port)/\(name)"
        case .inherited: return nil
        }
    }

    /// What the command of `--run` finds in its environment, under nbdkit's names.
    var variables: [String: String] {
        var variables = ["uri": uri ?? "", "nbd": uri ?? "", "exportname": export, "unixsocket": "", "port": ""]
        switch address {
        case .unix(let path): variables["unixsocket"] = path
        case .tcp(_, let port): variables["port"] = String(port)
        case .vsock(let port): variables["port"] = String(port)
        case .inherited: break
        }
        return variables
    }

    private static func escape(_ text: String) -> String {
        var allowed = CharacterSet.alphanumerics
        allowed.insert(charactersIn: "-._~/")
        return text.addingPercentEncoding(withAllowedCharacters: allowed) ?? text
    }
}
