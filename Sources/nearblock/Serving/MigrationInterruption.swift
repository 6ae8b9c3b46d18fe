import Foundation
import NIOConcurrencyHelpers

/// Answers Ctrl-C while a command waits for a migration: that goes on in the node, and the user is told how to watch and
/// to cancel it.
///
/// `@unchecked Sendable`: the source is made once and only kept.
final class MigrationInterruption: @unchecked Sendable {
    /// As a shell tells a program that SIGINT has ended.
    private static let exitStatus: CInt = 130

    private let exports: [String]
    private let control: String
    private let hasBegun = NIOLockedValueBox(false)
    private let source: any DispatchSourceSignal

    /// Takes SIGINT from now on.
    /// - Parameters:
    ///   - exports: at least one.
    ///   - control: the node's control socket.
    init(of exports: [String], control: String) {
        self.exports = exports
        self.control = control
        signal(SIGINT, SIG_IGN)
        source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
        source.setEventHandler { [self] in
            Terminal.report(line)
            exit(Self.exitStatus)
        }
        source.activate()
    }

    /// The node has begun to move the exports.
    func noteBegun() { hasBegun.withLockedValue { $0 = true } }

    /// The node has answered.
    func end() { source.cancel() }

    private var line: String {
        let options = " --control \(Self.quoted(control))"
        let watch = "nearblock status\(options)"
        let cancel = "nearblock cancel \(Self.quoted(exports[0]))\(options)"
        let names = exports.joined(separator: ", ")
        return hasBegun.withLockedValue { $0 }
            ? "the migration of \(names) goes on in the node; watch it with: \(watch); cancel it with: \(cancel)"
            : "the node has not answered yet, and may still migrate \(names); see: \(watch); cancel it with: \(cancel)"
    }

    /// As a shell takes it for one word.
    private static func quoted(_ word: String) -> String {
        let isPlain = word.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "/._-+:@%,".utf8.contains(byte)
            }
        }
        guard !isPlain || word.isEmpty || word.hasPrefix("-") else { return word }
        return "'" + word.replacingOccurrences(of: "'", with: #"'\''"#) + "'"
    }
}
