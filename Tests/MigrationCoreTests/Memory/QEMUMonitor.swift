import Foundation
import TestSupport

/// A connection to a QEMU's monitor (QMP). Every call blocks the thread until the answer is there.
struct QEMUMonitor {
    /// An answer that is an error, or none.
    struct Failure: Error, CustomStringConvertible {
        let command: String
        let answer: String
        var description: String { "\(command): \(answer)" }
    }

    private static let ended = "QEMU has ended"

    private let descriptor: CInt

    /// Waits until QEMU listens.
    /// - Parameter end: the errors of a QEMU that has ended; nil as long as it runs.
    init(path: String, end: () -> String?) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        while try UnixAddress.with(path, { connect(descriptor, $0, $1) }) != 0 {
            if let errors = end() { throw Failure(command: Self.ended, answer: errors) }
            usleep(10_000)
        }
        try execute("qmp_capabilities")
    }

    func close() { Foundation.close(descriptor) }

    /// - Returns: the value of `return`.
    @discardableResult
    func execute(_ command: String, _ arguments: [String: Any] = [:]) throws -> Any {
        let request = try JSONSerialization.data(withJSONObject: ["execute": command, "arguments": arguments])
        let sent = (request + [10]).withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        guard sent > 0 else { throw Failure(command: command, answer: Self.ended) }
        // The greeting and events come between the answers.
        while let line = nextLine() {
            let answer = try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any]
            if let value = answer?["return"] { return value }
            if let error = answer?["error"] { throw Failure(command: command, answer: "\(error)") }
        }
        throw Failure(command: command, answer: Self.ended)
    }

    private func nextLine() -> [UInt8]? {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while recv(descriptor, &byte, 1, 0) == 1 {
            if byte == 10 { return line }
            line.append(byte)
        }
        return nil
    }
}
