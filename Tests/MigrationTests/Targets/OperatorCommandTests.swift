import Foundation
import TestSupport
import Testing

@testable import Migration

@Suite("Commands of the operator", .timeLimit(.minutes(5)))
struct OperatorCommandTests {
    private let scratch = Scratch()

    private func run(
        _ shell: String, limit: Duration = .seconds(60), _ environment: [String: String] = [:]
    ) async throws -> OperatorCommand.Outcome {
        try await OperatorCommand(
            words: ["/bin/sh", "-c", shell, "sh", scratch.path],
            environment: environment.merging(["PATH": "/usr/bin:/bin"]) { $1 }, limit: limit
        ).run()
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test("A program -> no descriptors of the node, empty input, and a process group of its own")
    func isolation() async throws {
        let held = open(scratch.path, O_RDONLY)
        defer { close(held) }
        let outcome = try await run("ls /proc/self/fd | wc -l; wc -c; ps -o pgid= -p $$ | tr -d ' '; echo $$")
        let lines = text(outcome.output).split(separator: "\n")
        #expect(lines.count == 4, "\(lines)")
        // The three streams, and the folder that ls itself reads.
        #expect(lines.first == "4" && lines[1] == "0")
        #expect(lines[2] == lines[3])
        #expect(outcome.status == 0)
    }

    @Test("A variable with shell syntax -> reaches the program as it is")
    func environment() async throws {
        let name = "$(touch x); `id` \"'\\ ü"
        let outcome = try await run("printf %s \"$NEARBLOCK_EXPORT\"", ["NEARBLOCK_EXPORT": name])
        #expect(text(outcome.output) == name)
    }

    @Test("A program that fails -> its exit status, or its signal's number, and the end of its messages")
    func status() async throws {
        let failed = try await run("echo why >&2; exit 7")
        #expect(failed.status == 7 && text(failed.errors) == "why\n" && failed.output.isEmpty)
        #expect(try await run("kill -TERM $$").status == 128 + SIGTERM)
        let long = try await run("seq 1 300000 >&2")
        #expect(long.errors.count == OperatorCommand.mostErrors)
        #expect(text(long.errors).hasSuffix("299999\n300000\n"))
    }

    @Test(
        "A program that takes too long, or that ignores SIGTERM -> it and its children are ended",
        arguments: ["sleep 1000", "trap '' TERM; sleep 1000 & wait; sleep 1000"])
    func tooSlow(shell: String) async throws {
        await #expect(throws: OperatorCommand.Failure.tooSlow) {
            try await run("echo $$ >$1/leader; \(shell)", limit: .milliseconds(500))
        }
        let written = try text(scratch.contents("leader"))
        let leader = try #require(pid_t(written.dropLast()))
        // Its children are the first process's to wait for.
        try await waitUntil("nothing of the group is left") { kill(-leader, 0) != 0 && errno == ESRCH }
    }

    @Test("A program that prints a gigabyte -> ended at 4 KiB; errors without end -> ended at its time")
    func tooMuch() async throws {
        await #expect(throws: OperatorCommand.Failure.tooMuchOutput) { try await run("head -c 1G /dev/zero") }
        await #expect(throws: OperatorCommand.Failure.tooSlow) { try await run("yes >&2", limit: .seconds(1)) }
    }

    @Test("A daemon that keeps the output open -> not waited for, and not ended")
    func daemon() async throws {
        let outcome = try await run("sleep 60 & echo $!")
        let child = try #require(pid_t(text(outcome.output).dropLast()))
        #expect(kill(child, SIGKILL) == 0)
    }

    @Test("The task is cancelled -> the program is ended")
    func cancelled() async throws {
        let task = Task { try await run("echo $$ >$1/leader; sleep 1000") }
        try await waitUntil("it runs") { (try? scratch.contents("leader").count) ?? 0 > 1 }
        task.cancel()
        await #expect(throws: OperatorCommand.Failure.cancelled) { try await task.value }
    }

    @Test("No such program -> an error")
    func missing() async throws {
        await #expect(throws: OperatorCommand.Failure.cannotStart(ENOENT)) {
            try await OperatorCommand(words: ["/nonexistent"], environment: [:], limit: .seconds(1)).run()
        }
    }
}
