import Daemon

/// The keys of `[export NAME]`, in the order of the reference. A new one also needs its row in docs/configuration.md.
enum ExportKeys {
    static let all: [ConfigurationKey<ExportConfiguration>] = [
        ConfigurationKey(
            "image", .image, absent: "an error", example: "/images/web.raw",
            "The disk: an image, a block device, an NBD URI, `rbd:POOL/IMAGE` or QEMU's `json:{…}`."
        ) { $0.backing = $1 },
        ConfigurationKey(
            "description", .text, absent: "none", example: "the web server", "Text that clients see beside the name."
        ) { $0.text = $1 },
        ConfigurationKey("read-only", .boolean, absent: "false", example: "true", "Whether writes are refused.") {
            $0.isReadOnly = $1
        },
        ConfigurationKey(
            "direct", .boolean, absent: "false", example: "true",
            "Whether the host's page cache is bypassed (O_DIRECT)."
        ) { $0.isDirect = $1 },
        ConfigurationKey(
            "default", .boolean, absent: "false", example: "true",
            "Whether clients that ask for the empty name get this export; for one export at most."
        ) { $0.isDefault = $1 },
        ConfigurationKey(
            "dirty-bitmap",
            .name(
                "1 to 200 characters without spaces, and not migration",
                problem: { ExportConfiguration.problem(withBitmap: $0) }),
            absent: "none", example: "backup",
            "Tracks which blocks are written between checkpoints, as `qemu:dirty-bitmap:NAME`."
        ) { $0.dirtyBitmap = $1 },
        ConfigurationKey(
            "identity",
            .name(
                "1 to 255 bytes without control characters", problem: { ExportConfiguration.problem(withIdentity: $0) }),
            absent: "what the device says", example: "san-volume-17",
            "Name of a device that has no UUID, WWID or serial number, so that it can be migrated."
        ) { $0.identity = $1 },
        ConfigurationKey(
            "format",
            .name(
                "raw, qcow2, vmdk, vhdx, vdi or auto", problem: { ExportConfiguration.problem(withFormat: $0) }),
            absent: "raw", example: "qcow2",
            "Format of the disk in the image; auto looks at its first bytes."
        ) { $0.format = $1 },
        ConfigurationKey(
            "max-connections", .number(1...Int.max), absent: "the node's limit", example: "2",
            "Clients that may be connected at once."
        ) { $0.maximumConnections = $1 },
        ConfigurationKey(
            "tls", .choice(["required"]) { $0 == "required" ? true : nil }, absent: "as `tls-mode` says",
            example: "required", "Whether only clients with TLS see the export, whatever `tls-mode` says."
        ) { $0.requiresTLS = $1 },
    ]
}
