import Foundation

/// The parts of the file system that a service does not see, or sees read-only; systemd.exec(5).
struct ServiceSandbox: Sendable {
    private static let temporary = ["/tmp", "/var/tmp"]
    private static let homes = ["/home", "/root", "/run/user"]
    private static let yes = ["yes", "true", "on", "1"]

    private let unit: String
    /// Hidden directories, each with the setting that hides it.
    private var hidden: [(directory: String, setting: String)] = []
    private var readOnly: [(directory: String, setting: String)] = []
    /// Exceptions from both.
    private let writable: [String]
    private let visible: [String]
    /// The devices that the service may open; nil for all that it sees.
    private let devices: [String]?

    init(_ file: UnitFile, made: [String]) {
        func value(_ key: String) -> String { file.value(key, in: "Service") ?? "" }
        func paths(_ key: String) -> [String] {
            // A first - or + says what happens where the path is not there.
            file.words(key, in: "Service").map { String($0.drop { "-+".contains($0) }.prefix { $0 != ":" }) }
        }
        unit = file.name
        let allowed = file.list("DeviceAllow", in: "Service").compactMap {
            $0.split(separator: " ").first.map(String.init)
        }
        // Classes of devices and patterns are not looked up.
        let isPlain = allowed.allSatisfy { $0.hasPrefix("/") && !$0.contains { "*?[".contains($0) } }
        let isClosed = ["closed", "strict"].contains(value("DevicePolicy"))
        devices = isPlain && (isClosed || !allowed.isEmpty) ? allowed : nil
        writable = made + paths("ReadWritePaths") + paths("BindPaths")
        visible = paths("BindReadOnlyPaths")
        if Self.yes.contains(value("PrivateTmp")) {
            hidden += Self.temporary.map { ($0, "PrivateTmp=yes") }
        }
        if Self.yes.contains(value("PrivateDevices")) { hidden.append(("/dev", "PrivateDevices=yes")) }
        let home = value("ProtectHome")
        if Self.yes.contains(home) || home == "tmpfs" { hidden += Self.homes.map { ($0, "ProtectHome=\(home)") } }
        if home == "read-only" { readOnly += Self.homes.map { ($0, "ProtectHome=read-only") } }
        switch value("ProtectSystem") {
        case "strict": readOnly.append(("/", "ProtectSystem=strict"))
        case "full": readOnly += ["/usr", "/boot", "/etc"].map { ($0, "ProtectSystem=full") }
        case let text where Self.yes.contains(text):
            readOnly += ["/usr", "/boot"].map { ($0, "ProtectSystem=\(text)") }
        default: break
        }
        readOnly += paths("ReadOnlyPaths").map { ($0, "ReadOnlyPaths=\($0)") }
        hidden += paths("InaccessiblePaths").map { ($0, "InaccessiblePaths=\($0)") }
    }

    /// Returns the reason why the service can't use a path that its user may use, with the remedy; nil if it can.
    func problem(with path: String, writes: Bool, isDirectory: Bool) -> String? {
        func isBelow(_ directory: String) -> Bool {
            directory == "/" || path == directory || path.hasPrefix("\(directory)/")
        }
        guard !writable.contains(where: isBelow) else { return nil }
        let edit = "systemctl edit \(unit), [Service],"
        if let place = hidden.first(where: { isBelow($0.directory) }), !visible.contains(where: isBelow) {
            guard place.directory != "/dev" else {
                return
                    "\(unit) does not see \(path), for \(place.setting): \(edit) PrivateDevices=no, DevicePolicy=closed and "
                    + "DeviceAllow=\(path) rw"
            }
            return "\(unit) does not see \(path), for \(place.setting): choose a place outside \(place.directory)"
        }
        if let devices, path.hasPrefix("/dev/"), !devices.contains(path) {
            return "\(unit) may not open \(path), which DeviceAllow= does not name: \(edit) DeviceAllow=\(path) rw"
        }
        guard writes, !path.hasPrefix("/dev/"), let place = readOnly.first(where: { isBelow($0.directory) }) else {
            return nil
        }
        let folder = isDirectory ? path : URL(fileURLWithPath: path).deletingLastPathComponent().path
        return "\(unit) can't write to \(path), for \(place.setting): \(edit) ReadWritePaths=\(folder)"
    }
}
