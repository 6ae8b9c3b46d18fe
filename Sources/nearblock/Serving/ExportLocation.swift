import Daemon
import Foundation
import NBDServer

/// Address of an export for a client on this host.
struct ExportLocation {
    let address: ListenAddress
    let export: String
    let encryption: TLSConfiguration.Mode

    /// NBD URI of the export; nil if the address has none.
    var uri: String? {
        let scheme = encryption == .required ? "nbds" : "nbd"
        let name = Self.escape(export)
        switch address {
        case .unix(let path): return "\(scheme)+unix:///\(name)?socket=\(Self.escape(path))"
        // A server on all addresses is reached at localhost.
        case .tcp(let host, let port):
            return "\(scheme)://\(ListenAddress.tcp(host: host.isEmpty ? "localhost" : host, port: port))/\(name)"
        case .vsock(let port): return "\(scheme)+vsock://1:\(port)/\(name)"
        case .inherited: return nil
        }
    }

    /// Environment variables for the command of `--run`, with nbdkit's names.
    var variables: [String: String] {
        var variables = ["uri": uri ?? "", "nbd": uri ?? "", "exportname": export, "unixsocket": "", "port": ""]
        switch address {
        case .unix(let path): variables["unixsocket"] = path
        case .tcp(_, let port): variables["port"] = String(port)
        case .vsock(let port): variables["port"] = String(port)
        case .inherited: break
        }
        switch encryption {
        case .off: break
        case .optional: variables["tls"] = "1"
        case .required: variables["tls"] = "2"
        }
        return variables
    }

    private static func escape(_ text: String) -> String {
        var allowed = CharacterSet.alphanumerics
        allowed.insert(charactersIn: "-._~/")
        return text.addingPercentEncoding(withAllowedCharacters: allowed) ?? text
    }
}
