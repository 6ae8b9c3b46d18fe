import Foundation

/// Default paths of a node: system directories for root, the user's directories for others.
enum DefaultPaths {
    static var state: String {
        if getuid() == 0 { return "/var/lib/nearblock" }
        return environment("XDG_STATE_HOME") ?? "\(NSHomeDirectory())/.local/state/nearblock"
    }

    static var control: String {
        if getuid() == 0 { return "/run/nearblock/control.sock" }
        return environment("XDG_RUNTIME_DIR").map { "\($0)/control.sock" }
            ?? "/tmp/nearblock-\(getuid())/control.sock"
    }

    private static func environment(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name].map { "\($0)/nearblock" }
    }
}
