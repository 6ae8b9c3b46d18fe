/// The keys of `[domain NAME]`, in the order of the reference. A new one also needs its row in docs/configuration.md.
enum DomainKeys {
    static let all: [ConfigurationKey<TargetSettings>] = [
        ConfigurationKey(
            "prepare", .command, absent: "an error", example: "/bin/sh /etc/nearblock/prepare",
            "Command that makes the places of arriving disks that are limited to this domain."
        ) { $0.prepare = $1 },
        ConfigurationKey(
            "release", .command, absent: "nothing is undone",
            example: "/bin/sh /etc/nearblock/release",
            "Command that undoes `prepare` where a migration fails before its switchover."
        ) { $0.release = $1 },
    ]
}
