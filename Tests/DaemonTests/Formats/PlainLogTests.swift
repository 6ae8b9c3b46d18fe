import Logging
import NIOConcurrencyHelpers
import Testing

@testable import Daemon

/// Untrusted text in a log.
@Suite("Logs")
struct PlainLogTests {
    private struct Notes: LogHandler {
        let lines = NIOLockedValueBox<[String]>([])
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { lines.withLockedValue { $0.append("\(event.message)") } }
    }

    @Test(
        "Control, hiding and direction characters -> escaped; long text -> cut",
        arguments: [
            ("disk", "disk"), ("Grüße, 世界 🐧", "Grüße, 世界 🐧"), ("👩‍👩‍👧", "👩‍👩‍👧"),
            ("a\nb\r\u{1b}[2Jc\0", #"a\u{a}b\u{d}\u{1b}[2Jc\u{0}"#),
            ("\u{85}\u{9b}2J", #"\u{85}\u{9b}2J"#), ("a\u{202e}b\u{200b}c\u{2028}d", #"a\u{202e}b\u{200b}c\u{2028}d"#),
        ])
    func line(_ text: String, _ expected: String) {
        #expect(PlainText.line(text) == expected)
    }

    @Test("A long line -> cut between characters")
    func long() {
        #expect(PlainText.line(String(repeating: "a", count: 3000)) == String(repeating: "a", count: 2048) + "...")
        #expect(PlainText.line("äää", limit: 5) == "ää...")
        #expect(PlainText.line("ab\n", limit: 6) == "ab...")
        #expect(PlainText.line("abcdef", limit: 6) == "abcdef")
    }

    @Test("Any message -> plain text")
    func handler() {
        let lines = NIOLockedValueBox<[String]>([])
        let logger = Logger(label: "test") { label in
            LineLogHandler(label: label, isJournal: true) { line in lines.withLockedValue { $0.append(line) } }
        }
        logger.warning("peer says: \u{1b}[2J\nerror: forged")
        #expect(lines.withLockedValue { $0 } == [#"<4>peer says: \u{1b}[2J\u{a}error: forged"# + "\n"])
    }

    @Test("Many lines -> a budget writes a burst, then few, and counts those left out")
    func budget() {
        var budget = LineBudget()
        let start = ContinuousClock.now
        for _ in 0..<Int(LineBudget.stock) { #expect(budget.decide(at: start) == .write(leftOut: 0)) }
        for _ in 0..<1000 { #expect(budget.decide(at: start) == .leaveOut) }
        #expect(budget.decide(at: start - .seconds(60)) == .leaveOut, "a clock never brings lines back")
        #expect(budget.decide(at: start + .seconds(1)) == .write(leftOut: 1001))
        for _ in 1..<Int(LineBudget.perSecond) { #expect(budget.decide(at: start + .seconds(1)) == .write(leftOut: 0)) }
        #expect(budget.decide(at: start + .seconds(1)) == .leaveOut)
        #expect(budget.decide(at: start + .seconds(3600)) == .write(leftOut: 1))
    }

    @Test("Many lines of one level -> other levels are written, and critical lines always")
    func levels() {
        let notes = Notes()
        let logger = Logger(label: "test") { _ in PeerLogHandler(notes) }
        for number in 0..<1000 { logger.info("info \(number)") }
        logger.error("an error")
        for number in 0..<200 { logger.critical("critical \(number)") }
        let lines = notes.lines.withLockedValue { $0 }
        #expect((200..<500).contains(lines.count { $0.hasPrefix("info") }), "\(lines)")
        #expect(lines.contains("an error"))
        #expect(lines.count { $0.hasPrefix("critical") } == 200)
    }
}
