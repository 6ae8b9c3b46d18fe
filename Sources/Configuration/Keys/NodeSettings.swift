import Daemon

/// The section `[node]`.
struct NodeSettings {
    var node: NodeConfiguration
    /// Directory of the certificates for NBD clients.
    var tls: String?
    var tlsMode: TLSConfiguration.Mode?
    var verifiesClients = false
    /// Places of disks that are limited to no domain with places of its own.
    var target = TargetSettings()

    /// Applies the keys that only have a meaning together.
    /// - Returns: A mistake for each key that lacks another, or excludes it.
    mutating func complete(_ file: KeyFile) -> [ConfigurationError] {
        var mistakes: [ConfigurationError] = []
        let mode = tlsMode ?? .required
        if let tls {
            node.tls = TLSConfiguration(directory: tls, mode: mode, verifiesClients: verifiesClients)
        } else if mode != .off, !file.keys(of: "node").contains("tls") {
            // Never serve in plaintext because of a missing key what the file wants encrypted.
            let needing = ["tls-mode", "tls-verify-client"].filter(file.keys(of: "node").contains)
            mistakes += needing.map { file.mistake(" needs tls, the directory of the certificates", $0, in: "node") }
        }
        if let commands = target.commands {
            node.targets.standard = commands
        } else if target.release != nil, !file.keys(of: "node").contains("prepare") {
            mistakes.append(file.mistake(" needs prepare, the command that it undoes", "release", in: "node"))
        }
        if node.site.store == nil, !file.keys(of: "node").contains("site") {
            let needing = ["host", "site-address", "site-rate"].filter(file.keys(of: "node").contains)
            mistakes += needing.map { file.mistake(" needs site, the folder that all hosts share", $0, in: "node") }
        }
        if node.peerTLS != nil, node.allowsInsecurePeers {
            mistakes.append(file.mistake(" excludes peer-tls; leave one of them out", "insecure-peer", in: "node"))
        }
        return mistakes
    }
}
