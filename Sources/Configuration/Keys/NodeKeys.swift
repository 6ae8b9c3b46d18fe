import Daemon
import Logging

/// The keys of `[node]`, in the order of the reference. A new one also needs its row in docs/configuration.md.
enum NodeKeys {
    static let all: [ConfigurationKey<NodeSettings>] = addresses + security + directories + site + behaviour

    private static let addresses: [ConfigurationKey<NodeSettings>] = [
        ConfigurationKey(
            "listen", .addresses, absent: "127.0.0.1:10809, if no other address is given", example: "0.0.0.0:10809",
            "TCP addresses for NBD clients."
        ) { $0.node.listen += $1 },
        ConfigurationKey(
            "socket", .sockets, absent: "none", example: "/run/nearblock/nbd.sock", "Unix sockets for NBD clients."
        ) { $0.node.listen += $1 },
        ConfigurationKey(
            "vsock", .vsockPorts, absent: "none", example: "10809",
            "Ports of vsock for NBD clients in virtual machines."
        ) { $0.node.listen += $1 },
        ConfigurationKey(
            "peer-listen", .peerAddress, absent: "no disks are accepted", example: "0.0.0.0:7000",
            "Address at which disks of other nodes are accepted; needs `images`."
        ) { $0.node.peerListen = $1 },
    ]

    private static let security: [ConfigurationKey<NodeSettings>] = [
        ConfigurationKey(
            "tls", .directory, absent: "no TLS for NBD clients", example: "/etc/nearblock/tls",
            "Directory with the certificates for NBD clients, and for peers if there is no `peer-tls`."
        ) { $0.tls = $1 },
        ConfigurationKey(
            "tls-mode", .choice(["off", "optional", "required"]) { TLSConfiguration.Mode(rawValue: $0) },
            absent: "required", example: "required", "Whether NBD clients may or must use TLS; needs `tls`."
        ) { $0.tlsMode = $1 },
        ConfigurationKey(
            "tls-verify-client", .boolean, absent: "false", example: "true",
            "Whether NBD clients must show a certificate that `ca-cert.pem` has signed; needs `tls`."
        ) { $0.verifiesClients = $1 },
        ConfigurationKey(
            "peer-tls", .directory, absent: "the directory of `tls`", example: "/etc/nearblock/peers",
            "Directory with the certificates for other nodes."
        ) { $0.node.peerTLS = $1 },
        ConfigurationKey(
            "insecure-peer", .boolean, absent: "false", example: "false",
            "Whether peers without TLS are allowed at any address; anyone on that network can then read and send disks."
        ) { $0.node.allowsInsecurePeers = $1 },
        ConfigurationKey(
            "socket-mode", .mode, absent: "as the process's umask says", example: "0660",
            "Permissions of the Unix sockets for NBD clients."
        ) { $0.node.socketPermissions.mode = $1 },
        ConfigurationKey(
            "socket-group", .group, absent: "the process's group", example: "daemon",
            "Group of the Unix sockets for NBD clients."
        ) { $0.node.socketPermissions.group = $1 },
        ConfigurationKey(
            "image-mode", .imageMode, absent: "0600", example: "0640", "Permissions of images that arrive by migration."
        ) { $0.node.imagePermissions.mode = $1 },
        ConfigurationKey(
            "image-group", .group, absent: "the process's group", example: "daemon",
            "Group of images that arrive by migration."
        ) { $0.node.imagePermissions.group = $1 },
    ]

    private static let directories: [ConfigurationKey<NodeSettings>] = [
        ConfigurationKey(
            "images", .directory, absent: "none", example: "/var/lib/nearblock/images",
            "Directory for images that arrive by migration."
        ) { $0.node.images = $1 },
        ConfigurationKey(
            "index", .directory, absent: "no neighbours", example: "/var/lib/nearblock/index",
            "Index of the neighbours whose blocks migrations to this node can use."
        ) { $0.node.index = $1 },
        ConfigurationKey(
            "state", .directory, absent: "`/var/lib/nearblock` for root", example: "/var/lib/nearblock/state",
            "Directory of the records that survive a restart; one for each node."
        ) { $0.node.state = $1 },
        ConfigurationKey(
            "control", .file, absent: "`/run/nearblock/control.sock` for root", example: "/run/nearblock/control.sock",
            "Socket for commands to this node."
        ) { $0.node.control = $1 },
        ConfigurationKey(
            "memory-dir", .directory, absent: "no memory is accepted", example: "/run/nearblock/memory",
            "Directory of the Unix sockets on which QEMU waits for the memory of guests; needs `peer-listen`."
        ) { $0.node.memoryDirectory = $1 },
        ConfigurationKey(
            "prepare", .command, absent: "arriving disks are files in `images`",
            example: "/bin/sh /etc/nearblock/prepare",
            "Command that makes the place of each arriving disk."
        ) { $0.target.prepare = $1 },
        ConfigurationKey(
            "release", .command, absent: "nothing is undone",
            example: "/bin/sh /etc/nearblock/release",
            "Command that undoes `prepare` where a migration fails before its switchover; needs `prepare`."
        ) { $0.target.release = $1 },
    ]

    private static let site: [ConfigurationKey<NodeSettings>] = [
        ConfigurationKey(
            "site", .siteStore, absent: "no other hosts", example: "/mnt/site",
            "Folder or Ceph pool that all hosts of the site share, to lend and borrow neighbours; needs `index` and `peer-listen`."
        ) { $0.node.site.store = $1 },
        ConfigurationKey(
            "host", .text, absent: "the machine's name", example: "host1", "Name of this host in the site."
        ) { $0.node.site.host = $1 },
        ConfigurationKey(
            "site-address", .peerAddress, absent: "the address of `peer-listen`", example: "10.0.0.1:7000",
            "Address of `peer-listen` as the other hosts reach it."
        ) { $0.node.site.address = $1 },
        ConfigurationKey(
            "site-rate", .bitRate, absent: "no limit", example: "10G",
            "Limit of all that is lent to other hosts, in bits a second."
        ) { $0.node.site.bytesPerSecond = max(1, $1.bitsPerSecond / 8) },
    ]

    private static let behaviour: [ConfigurationKey<NodeSettings>] = [
        ConfigurationKey(
            "incoming-writes", .choice(["wait", "refuse"]) { ["wait": false, "refuse": true][$0] }, absent: "wait",
            example: "wait", "Handling of writes to a disk before its switchover."
        ) { $0.node.refusesEarlyWrites = $1 },
        ConfigurationKey(
            "keep-index", .interval, absent: "the disks served here are not indexed", example: "10m",
            "Interval at which the disks served here are indexed; needs `index`."
        ) { $0.node.keepIndex = .seconds($1.seconds) },
        ConfigurationKey(
            "keep-migrations", .boolean, absent: "false", example: "true",
            "Whether migrations before their switchover go on after a restart; otherwise SIGTERM cancels them."
        ) { $0.node.keepsMigrations = $1 },
        ConfigurationKey(
            "metrics", .monitoringAddress, absent: "none", example: "127.0.0.1:9810",
            "Address of the metrics for Prometheus, over HTTP without a password."
        ) { $0.node.metrics = $1 },
        ConfigurationKey(
            "web", .monitoringAddress, absent: "none", example: "127.0.0.1:9811",
            "Address of the page that shows the blocks of all disks, over HTTP without a password."
        ) { $0.node.web = $1 },
        ConfigurationKey(
            "log-level", .choice(Logger.Level.allCases.map(\.rawValue)) { Logger.Level(rawValue: $0) }, absent: "info",
            example: "notice", "Least severe events that are logged."
        ) { $0.node.logLevel = $1 },
    ]
}
