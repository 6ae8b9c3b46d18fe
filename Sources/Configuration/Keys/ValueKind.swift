import Block
import Daemon
import Glibc
import Monitoring
import NBDServer
import PeerModel

/// The value and the fault that a message names.
private struct ValueFault: Error {
    let text: String
    let reason: String
}

private func parsed<Parsed>(_ text: String, _ parse: (String) throws -> Parsed) throws -> Parsed {
    do { return try parse(text) } catch { throw ValueFault(text: text, reason: "\(error)") }
}

/// The form of a key's value.
struct ValueKind<Value>: Sendable {
    /// Description of the values that are allowed, for messages and the reference.
    let form: String
    /// Reads the value of a key that is there.
    let read: @Sendable (_ file: KeyFile, _ key: String, _ section: String) throws -> Value

    /// A value that GLib parses itself.
    private init(
        form: String, read: @escaping @Sendable (KeyFile, String, String) throws -> Value
    ) {
        self.form = form
        self.read = { file, key, section in
            do { return try read(file, key, section) } catch let error as ValueFault {
                throw file.mistake(": '\(error.text)' is not valid: \(error.reason)", key, in: section)
            } catch let error as ConfigurationError {
                throw error
            } catch {
                throw file.mistake(": \(error)", key, in: section)
            }
        }
    }

    /// A value that is one text.
    init(_ form: String, parse: @escaping @Sendable (String) throws -> Value) {
        self.init(form: form) { file, key, section in
            try parsed(try file.string(key, in: section) ?? "", parse)
        }
    }

    /// Several texts with `;` between them.
    static func list<Element>(
        _ form: String, parse: @escaping @Sendable (String) throws -> Element
    ) -> ValueKind where Value == [Element] {
        ValueKind(form: "\(form); several with ; between them") { file, key, section in
            try file.strings(key, in: section).map { try parsed($0, parse) }
        }
    }

    /// The name of one case of an enumeration.
    static func choice(_ names: [String], parse: @escaping @Sendable (String) -> Value?) -> ValueKind {
        let form =
            names.count < 2 ? names.joined() : "\(names.dropLast().joined(separator: ", ")) or \(names.last ?? "")"
        return ValueKind(form) { text in
            guard let value = parse(text) else { throw InvalidValue("give \(form)") }
            return value
        }
    }
}

extension ValueKind where Value == Bool {
    /// `true` or `false`.
    static var boolean: ValueKind<Bool> {
        ValueKind(form: "true or false") { file, key, section in
            do { return try file.boolean(key, in: section) } catch {
                throw ValueFault(text: file.rawValue(key, in: section) ?? "", reason: "give true or false")
            }
        }
    }
}

extension ValueKind where Value == Int {
    /// A whole number from a range.
    static func number(_ range: ClosedRange<Int>) -> ValueKind {
        let form =
            range.upperBound == .max ? "\(range.lowerBound) or more" : "\(range.lowerBound) to \(range.upperBound)"
        return ValueKind("a whole number, \(form)") { text in
            guard let number = Int(text.trimmingWhitespace), range.contains(number) else {
                throw InvalidValue("give a whole number, \(form)")
            }
            return number
        }
    }
}

extension ValueKind where Value == String {
    /// Any text.
    static var text: ValueKind<String> {
        ValueKind("a text") { $0 }
    }
    /// A path.
    static var file: ValueKind<String> {
        path("a path")
    }
    /// The path of a directory.
    static var directory: ValueKind<String> {
        path("a directory")
    }
    /// The store of a site.
    static var siteStore: ValueKind<String> {
        path("a directory, or rados:POOL[/NAMESPACE]")
    }
    /// The place of a disk's bytes.
    static var image: ValueKind<String> {
        path("a path, rbd:POOL/IMAGE, json:{…}, or an NBD URI such as nbd+unix:///?socket=/run/qcow2.sock")
    }

    private static func path(_ form: String) -> ValueKind {
        ValueKind(form) { text in
            guard !text.isEmpty else { throw InvalidValue("give \(form)") }
            try refuseQuotes(text)
            return text
        }
    }

    /// Refuses what a shell would take for a quoted path: here the quotes would be a part of it.
    fileprivate static func refuseQuotes(_ text: String) throws {
        let isQuoted = ["\"", "'"].contains { text.count > 1 && text.hasPrefix($0) && text.hasSuffix($0) }
        if isQuoted { throw InvalidValue("the quotes would be a part of it; leave them out") }
    }

    /// A text that a function finds nothing wrong with.
    static func name(_ form: String, problem: @escaping @Sendable (String) -> String?) -> ValueKind {
        ValueKind(form) { text in
            if let problem = problem(text) { throw InvalidValue(problem) }
            return text
        }
    }
}

extension ValueKind where Value == [String] {
    /// A command of the operator's.
    static var command: ValueKind<[String]> {
        ValueKind("a program's path and its arguments, quoted as in a shell") { try CommandWords($0).words }
    }
}

extension ValueKind where Value == [ListenAddress] {
    /// TCP addresses of the node itself.
    static var addresses: ValueKind<[ListenAddress]> {
        list("HOST:PORT, [IPV6]:PORT or :PORT for all addresses") { text -> ListenAddress in
            guard let address = ListenAddress(tcp: text) else {
                throw InvalidValue("it is not HOST:PORT, [IPV6]:PORT or :PORT")
            }
            return address
        }
    }
    /// Paths of Unix sockets.
    static var sockets: ValueKind<[ListenAddress]> {
        list("a path of at most 107 bytes") { text -> ListenAddress in
            try ValueKind<String>.refuseQuotes(text)
            guard (1...107).contains(text.utf8.count) else { throw InvalidValue("a socket's path has 1 to 107 bytes") }
            return .unix(path: text)
        }
    }
    /// Ports of vsock(7).
    static var vsockPorts: ValueKind<[ListenAddress]> {
        list("a port, 0 to 4294967295") { text -> ListenAddress in
            guard let port = UInt32(text) else { throw InvalidValue("give a port, 0 to 4294967295") }
            return .vsock(port: port)
        }
    }
}

extension ValueKind where Value == MonitoringAddress {
    /// An address for HTTP.
    static var monitoringAddress: ValueKind<MonitoringAddress> {
        ValueKind("HOST:PORT, PORT or unix:PATH") { text in
            guard let address = MonitoringAddress(text) else {
                throw InvalidValue("it is not HOST:PORT, PORT or unix:PATH")
            }
            return address
        }
    }
}

extension ValueKind where Value == PeerAddress {
    /// An address for peers.
    static var peerAddress: ValueKind<PeerAddress> {
        ValueKind("HOST:PORT or [IPV6]:PORT") { text in
            guard let address = PeerAddress(text) else { throw InvalidValue("it is not HOST:PORT or [IPV6]:PORT") }
            return address
        }
    }
}

extension ValueKind where Value == TimeSpan {
    /// A time between repetitions.
    static var interval: ValueKind<TimeSpan> {
        ValueKind("a time of more than 0, as in 500ms, 30s, 10m or 1h") { try TimeSpan.interval($0) }
    }
}

extension ValueKind where Value == BitRate {
    /// A rate of a link.
    static var bitRate: ValueKind<BitRate> {
        ValueKind("a rate in bits a second, as in 100M or 10G") { try BitRate($0) }
    }
}

extension ValueKind where Value == mode_t {
    /// Permissions of an image.
    static var imageMode: ValueKind<mode_t> {
        ValueKind("three octal digits that let the owner read and write, as in 0640") {
            try FileMode.ofImage($0).bits
        }
    }
    /// Permissions of a socket.
    static var mode: ValueKind<mode_t> {
        ValueKind("three octal digits, as in 0660") { try FileMode($0).bits }
    }
}

extension ValueKind where Value == gid_t {
    /// A group of this machine.
    static var group: ValueKind<gid_t> {
        ValueKind("a group's name or number") { try GroupName($0).number }
    }
}
