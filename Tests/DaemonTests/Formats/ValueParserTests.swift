import Foundation
import NBDServer
import Peer
import TestSupport
import Testing

@testable import Configuration
@testable import Daemon
@testable import PeerModel

/// Tests every parser of a number with invalid and absurd numbers, and the arithmetic on accepted ones.
@Suite("Parsers of numbers", .timeLimit(.minutes(10)))
struct ValueParserTests {
    /// Invalid for every parser, with any unit.
    private static let none = [
        "", " ", "-1", "-9223372036854775808", "-9223372036854775809", "1e400", "1e3", "nan", "NaN", "inf", "-inf",
        "infinity", "0x10", "0b1", "١٢", "１２", "1_000", "1,000", "1'000", "--1", "1-", "1 000", "\0", "1\0", "½", "Ⅷ",
        "99999999999999999999999999999999999999999",
    ]
    /// Largest numbers of some widths and their neighbours, and others at the limits of parsers.
    private static let edges = [
        "0", "1", "127", "128", "255", "256", "32767", "32768", "65535", "65536", "2147483647", "2147483648",
        "4294967295", "4294967296", "9007199254740993", "9223372036854775807", "9223372036854775808",
        "18446744073709551614", "18446744073709551615", "18446744073709551616", "000000000000000000000000000001",
        "0.0000000000000001", ".5", "5.", "999999999999999", "9999999999999999", "1000000000", "999999999.999",
    ]
    private static let units = ["", "K", "M", "G", "T", "k", "KiB", "MB/s", "bit", "ms", "s", "m", "h", "d", "min"]

    private func parse<Value>(_ parser: (String) throws -> Value, _ text: String) -> Value? {
        do { return try parser(text) } catch {
            #expect(!"\(error)".contains("\n") && "\(error)".count < 1000, "\(text): \(error)")
            return nil
        }
    }

    @Test("Invalid rates -> refused; valid rates -> can be kept")
    func rates() async throws {
        for text in Self.none {
            for unit in Self.units { #expect(parse({ try BitRate($0) }, text + unit) == nil, "\(text + unit)") }
        }
        var accepted = 0
        for text in Self.edges.flatMap({ edge in Self.units.map { edge + $0 } }) {
            guard let rate = parse({ try BitRate($0) }, text) else { continue }
            accepted += 1
            #expect((1..<UInt64.max).contains(rate.bitsPerSecond), "\(text)")
            // The longest frame, when nothing was sent before it.
            try await RateLimit(bitsPerSecond: rate.bitsPerSecond).wait(for: PeerConnection.maximumFrame) { true }
        }
        #expect(accepted > 40)
    }

    @Test("Invalid sizes, times, modes, groups and ports -> refused")
    func others() {
        for text in Self.none {
            for unit in Self.units {
                #expect(parse({ try ByteCount($0) }, text + unit) == nil, "\(text + unit)")
                #expect(parse({ try TimeSpan($0) }, text + unit) == nil, "\(text + unit)")
            }
            #expect(parse({ try FileMode($0) }, text) == nil, "\(text)")
            #expect(ServicePort.number(text) == nil, "\(text)")
            #expect(ListenAddress(tcp: "127.0.0.1:\(text)") == nil, "\(text)")
            #expect(PeerAddress("127.0.0.1:\(text)") == nil, "\(text)")
        }
        for text in Self.none.dropFirst(2) { #expect(parse({ try GroupName($0) }, text) == nil, "\(text)") }
    }

    @Test("Numbers at the limits -> refused or usable")
    func edges() {
        for text in Self.edges.flatMap({ edge in Self.units.map { edge + $0 } }) {
            if let size = parse({ try ByteCount($0) }, text) { #expect(size.bytes < .max, "\(text)") }
            for span in [parse({ try TimeSpan($0) }, text), parse({ try TimeSpan.interval($0) }, text)] {
                guard let span else { continue }
                #expect((0..<1e9).contains(span.seconds), "\(text)")
                #expect(ContinuousClock.now + .seconds(span.seconds) * 2 >= .now - .seconds(1))
            }
            if let mode = parse({ try FileMode($0) }, text) { #expect(mode.bits <= 0o777, "\(text)") }
            if let mode = parse({ try FileMode.ofImage($0) }, text) { #expect(mode.bits & 0o600 == 0o600, "\(text)") }
            if let group = parse({ try GroupName($0) }, text) { #expect(group.number < .max, "\(text)") }
            #expect(ServicePort.number(text) == UInt16(text), "\(text)")
            for host in ["h", "[::1]", ""] {
                let isPort = UInt16(text) != nil
                #expect((ListenAddress(tcp: "\(host):\(text)") != nil) == isPort, "\(text)")
                #expect((PeerAddress("\(host):\(text)") != nil) == (isPort && !host.isEmpty), "\(text)")
            }
        }
    }

    @Test(
        "Any of these as the value of any key -> the file is read, or one line reports it",
        arguments: [
            "listen", "vsock", "peer-listen", "keep-index", "image-mode", "image-group", "socket-mode", "socket-group",
            "max-connections", "read-only", "tls-mode", "port", "filesize", "maxconnections", "max_threads",
        ])
    func files(_ key: String) throws {
        let scratch = Scratch()
        for text in Self.none + Self.edges + ["x:65536", "x:-1", "x:99999999999999999999", "true", "2"] {
            let isForeign = ["port", "filesize", "maxconnections", "max_threads"].contains(key)
            let isOfExport = ["max-connections", "read-only", "filesize", "maxconnections"].contains(key)
            let line = "\(key) = \(text)\n"
            let contents =
                isForeign
                ? "[generic]\n\(isOfExport ? "" : line)[disk]\nexportname = /x\n\(isOfExport ? line : "")"
                : "[node]\n\(isOfExport ? "" : line)[export disk]\nimage = /x\n\(isOfExport ? line : "")"
            let path = try scratch.write(Array(contents.utf8), to: "n.conf")
            var node = NodeConfiguration(state: "/x", defaultControl: nil)
            do {
                if isForeign {
                    _ = try NBDServerConfiguration.read(path, into: &node)
                } else {
                    try ConfigurationFile.read(path, into: &node)
                }
            } catch {
                #expect(!"\(error)".contains("\n") || text.contains("\0"), "\(text): \(error)")
                continue
            }
            for export in node.exports {
                #expect(export.maximumConnections ?? 1 > 0 && export.size ?? 1 > 0, "\(key) = \(text)")
            }
        }
    }

    @Test("Any number in any place of a control command -> refused or usable")
    func commands() throws {
        let numbers = [
            "0", "-1", "1", "0.5", "1e300", "1e400", "3600", "3601", "65535", "65536", "9223372036854775807",
            "9223372036854775808", "18446744073709551615", "18446744073709551616", "null", "\"1\"",
        ]
        var (valid, invalid) = (0, 0)
        for key in ["port", "rate", "maximumPause", "maximumRounds", "dirtyThreshold"] {
            for number in numbers {
                var fields = [
                    "port": "1", "rate": "1", "maximumPause": "1", "maximumRounds": "1", "dirtyThreshold": "1",
                ]
                fields[key] = number
                let rest = fields.filter { $0.key != "port" }.map { #""\#($0)":\#($1)"# }.joined(separator: ",")
                let text =
                    #"{"migrate":{"_0":{"exports":["d"],"destination":{"host":"h","port":\#(fields["port"]!)},"#
                    + #""switchover":"converged","detach":false,"domains":[],\#(rest)}}}"#
                guard let request = try? JSONDecoder().decode(ControlRequest.self, from: Data(text.utf8)),
                    case .migrate(let command) = request, (try? command.validate()) != nil
                else {
                    invalid += 1
                    continue
                }
                valid += 1
                #expect(
                    command.destination.port > 0 && command.rate ?? 1 > 0 && command.maximumRounds ?? 1 > 0, "\(text)")
                #expect((0...3600).contains(command.maximumPause ?? 0), "\(text)")
                #expect(Duration.seconds(command.maximumPause ?? 0) * 2 < .seconds(10000))
            }
        }
        #expect(valid > 20 && invalid > 20, "\(valid) \(invalid)")
    }
}
