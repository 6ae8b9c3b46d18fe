import Foundation
import TestSupport
import Testing

@testable import nearblock

@Suite("The progress row", .timeLimit(.minutes(10)))
struct ProgressRowTests {
    /// Runs a command on a terminal, and prints what it has written to it.
    private static let script = """
        import fcntl, os, pty, struct, sys, termios
        columns = int(sys.argv[1])
        process, terminal = pty.fork()
        if process == 0:
            fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
            os.execvp(sys.argv[2], sys.argv[2:])
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:
                break
            if not piece:
                break
            sys.stdout.buffer.write(piece)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
        """
    private static let clear = "\r\u{1b}[K"

    private func run(_ columns: Int, _ arguments: [String], environment: [String] = []) async throws -> Command.Result {
        try await Command.run(
            "env",
            environment + ["/usr/bin/python3", "-c", Self.script, "\(columns)", Nearblock.path] + arguments)
    }

    /// The rows that replaced each other, and what stays.
    private func expectOneRow(_ result: Command.Result, _ columns: Int) throws {
        #expect(result.status == 0, "\(result)")
        let pieces = result.output.components(separatedBy: Self.clear)
        // The result comes between two rows that are cleared.
        let rows = pieces.dropFirst().dropLast().filter { !$0.isEmpty && !$0.contains("fingerprints of") }
        #expect(!rows.isEmpty, "\(result.output)")
        for row in rows {
            #expect(!row.contains("\n") && row.count < columns, "\(columns) columns: \(row.debugDescription)")
            #expect(row.contains(" %"), "\(row)")
        }
        #expect(!pieces.joined().contains("\u{1b}"), "nothing but the row is cleared, and nothing is coloured")
    }

    @Test("Indexing at 40 and 80 columns -> exactly one row, whatever the image is called", arguments: [40, 80])
    func indexing(_ columns: Int) async throws {
        let scratch = Scratch()
        let image = String(repeating: "läng", count: 20) + ".raw"
        try scratch.makeImage(image, megabytes: 4)
        for environment in [[], ["NO_COLOR=1"], ["TERM=xterm-256color"]] {
            let result = try await run(
                columns, ["index", "add", "--index", scratch.file("index"), "--rate", "32M", scratch.file(image)],
                environment: environment)
            try expectOneRow(result, columns)
        }
        let dumb = try await run(
            columns, ["index", "add", "--index", scratch.file("index"), scratch.file(image)], environment: ["TERM=dumb"]
        )
        #expect(dumb.status == 0 && !dumb.output.contains("\u{1b}"), "\(dumb)")
        let plain = try await Nearblock.run(["index", "add", "--index", scratch.file("index"), scratch.file(image)])
        #expect(plain.errors.isEmpty, "no progress without a terminal: \(plain.errors)")
    }

    @Test("Migrating at 40 and 80 columns -> exactly one row", arguments: [40, 80])
    func migrating(_ columns: Int) async throws {
        let nodes = try await TwoNodes(megabytes: 4)
        let result = try await run(
            columns,
            ["migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--rate", "24M", "--control", nodes.source.control])
        try expectOneRow(result, columns)
    }

    @Test("Parts that do not fit -> left out from the end; the first is cut at its beginning")
    func fits() {
        #expect(ProgressRow.fit(["ab", "cd", "ef"], columns: 80) == "ab, cd, ef")
        #expect(ProgressRow.fit(["ab", "cd", "ef"], columns: 9) == "ab, cd")
        #expect(ProgressRow.fit(["ab", "cdefghij", "k"], columns: 9) == "ab")
        #expect(ProgressRow.fit(["/images/a.raw: 5 %"], columns: 12) == "~a.raw: 5 %")
        #expect(ProgressRow.fit(["ab"], columns: 1) == "" && ProgressRow.fit([], columns: 80) == "")
    }
}
