import Foundation
import NIOConcurrencyHelpers

/// Handles Ctrl-C while a command waits for a migration. The migration goes on in the node; a message tells how to
/// watch and cancel it.
///
/// `@unchecked Sendable`: the source is made once and only kept.
final class MigrationInterruption: @unchecked Sendable {
    /// Exit status of a program that SIGINT has ended, as shells report it.
    private static let exitStatus: CInt = 130

    private let exports: [String]
    private let control: String
    private let hasBegun = NIOLockedValueBox(false)
    private let source: any DispatchSourceSignal

    /// Handles SIGINT from now on.
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

    /// Records that the node has started the migration.
    func markBegun() { hasBegun.withLockedValue { $0 = true } }

    /// Stops handling SIGINT.
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

    /// Quotes a word for a shell if necessary.
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
