import Foundation

/// A unit of systemd with its drop-ins, as far as they are files of this machine; systemd.unit(5).
struct UnitFile {
    /// Folders of units; of two files with one name, that in the earlier folder counts.
    private static let folders = [
        "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
        "/lib/systemd/system",
    ]
    /// Bytes of the longest file that is read.
    private static let longest = 1 << 20

    let name: String
    /// Values of each key of each section, in the order of the files. An empty value drops those before it.
    private var values: [String: [String: [String]]] = [:]

    /// Reads a unit. Nil if there is none, or it is masked.
    init?(_ name: String) {
        self.name = name
        guard let path = Self.folders.map({ $0 + "/" + name }).first(where: { access($0, F_OK) == 0 }),
            let text = Self.read(path), !text.isEmpty
        else { return nil }
        read(text)
        var dropIns: [String: String] = [:]
        for folder in Self.folders.reversed() {
            for file in Self.names(in: "\(folder)/\(name).d") where file.hasSuffix(".conf") {
                dropIns[file] = "\(folder)/\(name).d/\(file)"
            }
        }
        for (_, path) in dropIns.sorted(by: { $0.key < $1.key }) { read(Self.read(path) ?? "") }
    }

    /// The names of all units of a kind, such as `.socket`, in order.
    static func all(withSuffix suffix: String) -> [String] {
        Set(folders.flatMap { names(in: $0) }.filter { $0.hasSuffix(suffix) }).sorted()
    }

    /// All values of a key.
    func list(_ key: String, in section: String) -> [String] { values[section]?[key] ?? [] }

    /// The value that counts where a key has one; nil if it is not there.
    func value(_ key: String, in section: String) -> String? { list(key, in: section).last }

    /// The words of all values of a key whose values are lists.
    func words(_ key: String, in section: String) -> [String] {
        list(key, in: section).flatMap { $0.split(whereSeparator: \.isWhitespace).map(String.init) }
    }

    /// Whether the machine starts the unit by itself, with another unit.
    var isEnabled: Bool {
        Self.folders.contains { folder in
            Self.names(in: folder).contains { directory in
                (directory.hasSuffix(".wants") || directory.hasSuffix(".requires"))
                    && Self.names(in: "\(folder)/\(directory)").contains(name)
            }
        }
    }

    private mutating func read(_ text: String) {
        var section = ""
        for line in text.replacing("\\\n", with: " ").split(separator: "\n").map(String.init) {
            let line = line.trimmingWhitespace
            if line.isEmpty || line.hasPrefix("#") || line.hasPrefix(";") { continue }
            if line.hasPrefix("["), line.hasSuffix("]") {
                section = String(line.dropFirst().dropLast())
            } else if let equals = line.firstIndex(of: "=") {
                let key = String(line[..<equals]).trimmingWhitespace
                let value = String(line[line.index(after: equals)...]).trimmingWhitespace
                if value.isEmpty {
                    values[section]?[key] = nil
                } else {
                    values[section, default: [:]][key, default: []].append(value)
                }
            }
        }
    }

    private static func names(in folder: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    }

    private static func read(_ path: String) -> String? {
        guard let file = FileHandle(forReadingAtPath: path) else { return nil }
        return (try? file.read(upToCount: longest)).map { String(decoding: $0, as: UTF8.self) }
    }
}
