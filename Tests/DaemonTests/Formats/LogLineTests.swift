import Foundation
import Logging
import NIOConcurrencyHelpers
import NBDServer
import TestSupport
import Testing

@testable import Daemon

@Suite("Lines of the log")
struct LogLineTests {
    private func logger(isJournal: Bool, _ lines: NIOLockedValueBox<[String]>) -> Logger {
        Logger(label: "nearblock") { label in
            LineLogHandler(label: label, isJournal: isJournal) { line in lines.withLockedValue { $0.append(line) } }
        }
    }

    @Test("Values -> key=value in the order of the keys; blanks, quotes and line ends can't end one")
    func values() {
        #expect(
            LogLine.text("it is so", ["b": "x y", "a": "1", "c": "", "d": "q\"=\\", "e": "l\nm"])
                == #"it is so a=1 b="x y" c="" d="q\"=\\" e="l\\u{a}m""#)
    }

    @Test("In the journal -> the priority; elsewhere time, level and label", arguments: [true, false])
    func start(_ isJournal: Bool) throws {
        let lines = NIOLockedValueBox<[String]>([])
        logger(isJournal: isJournal, lines).error("it failed", metadata: ["export": "a"])
        let line = try #require(lines.withLockedValue { $0 }.first)
        if isJournal {
            #expect(line == "<3>it failed export=a\n")
        } else {
            let form = #/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z error nearblock: it failed export=a\n/#
            #expect(line.wholeMatch(of: form) != nil, "\(line)")
        }
    }

    @Test("JOURNAL_STREAM -> only if it names the same file")
    func journal() throws {
        let scratch = Scratch()
        let descriptor = open(try scratch.write([], to: "log"), O_RDONLY)
        defer { close(descriptor) }
        var info = stat()
        #expect(fstat(descriptor, &info) == 0)
        #expect(JournalStream.leads(descriptor, "\(info.st_dev):\(info.st_ino)"))
        #expect(!JournalStream.leads(descriptor, "\(info.st_dev):\(info.st_ino + 1)"))
        #expect(!JournalStream.leads(descriptor, nil) && !JournalStream.leads(descriptor, ""))
    }

    @Test("A repeated problem -> at once, then once a minute with its number")
    func repeats() {
        var limit = RepeatLimit()
        let start = ContinuousClock.now
        #expect(limit.decide(at: start) == .report(1))
        #expect(limit.decide(at: start + .seconds(1)) == .later(start + .seconds(60)))
        #expect(limit.decide(at: start + .seconds(2)) == .wait)
        #expect(limit.takeOverdue(at: start + .seconds(60)) == 2)
        #expect(limit.takeOverdue(at: start + .seconds(120)) == 0)
        #expect(limit.decide(at: start + .seconds(121)) == .report(1))
    }

    @Test("Clients that come, go and are refused thousands of times -> a bounded number of lines")
    func flood() async throws {
        let lines = NIOLockedValueBox<[String]>([])
        let log = ClientLog(logger: logger(isJournal: true, lines), counts: false)
        for number in 0..<5000 {
            log.opened("disk", by: .tcp("192.0.2.1:\(number)"), isSecure: false)
            log.closed("disk", by: .tcp("192.0.2.1:\(number)"), .closed, seconds: 0.5)
            log.refused(.tcp("192.0.2.1:\(number)"), .handshake(.unknownExport))
        }
        await log.finish()
        let all = lines.withLockedValue { $0 }
        #expect((200..<300).contains(all.count { $0.hasPrefix("<6>") }), "\(all.count)")
        let refused = all.filter { $0.contains("client refused") }
        #expect(
            refused.count == 2 && refused[0].contains("count=1 ") && refused[1].contains("count=4999 "), "\(refused)")
        #expect(all.first == "<6>client connected client=192.0.2.1:0 export=disk tls=no\n")
        #expect(
            all.contains {
                $0.contains(
                    "client gone: it has closed the connection without saying so client=192.0.2.1:0 export=disk reason=closed seconds=0.5"
                )
            })
    }
}
