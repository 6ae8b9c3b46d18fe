import BlockModel
import Foundation
import TestSupport
import Testing

@testable import NBDServer

@Suite("Numbers of requests")
struct TallyTests {
    @Test(
        "A duration -> the first class whose bound it does not exceed",
        arguments: [
            (0, 0), (1, 0), (4_000, 0), (4_001, 1), (8_000, 1), (8_001, 2), (1_000_000, 8), (8_388_608_000, 21),
            (8_388_608_001, 22), (UInt64.max, 22),
        ] as [(UInt64, Int)])
    func classes(_ nanoseconds: UInt64, _ expected: Int) {
        let index = LatencyBuckets.index(nanoseconds: nanoseconds)
        #expect(index == expected)
        #expect(Double(nanoseconds) / 1e9 <= LatencyBuckets.bound(of: index))
        if index > 0 { #expect(Double(nanoseconds) / 1e9 > LatencyBuckets.bound(of: index - 1)) }
    }

    @Test("Requests on several loops at once -> their sums, which never go back")
    func loops() async throws {
        let tallies = RequestTallies(loops: 4)
        try await onThreads(5) { thread in
            guard thread < 4 else {
                var before: UInt64 = 0
                while before < 40_000 {
                    let now = tallies.totals(of: .write).requests
                    #expect(now >= before)
                    before = now
                }
                return
            }
            for number in 0..<10_000 {
                tallies.tally(of: thread).record(
                    .write, bytes: 512, hasFailed: number % 10 == 0, nanoseconds: UInt64(thread) * 10_000)
            }
        }
        let totals = tallies.totals(of: .write)
        #expect(totals.requests == 40_000 && totals.bytes == 40_000 * 512 && totals.errors == 4_000)
        #expect(totals.nanoseconds == 10_000 * 60_000)
        #expect(totals.buckets[0] == 10_000)
        #expect(tallies.totals(of: .read) == RequestTotals())
    }

    @Test("Every way of a request through a session -> counted once, under its command")
    func session() async throws {
        try await TestServer.run(size: 80 << 20) { test in
            try await onThread {
                let client = try Client(unix: test.socket)
                try client.negotiate("disk", .structured)
                _ = try client.perform(.write(0, [UInt8](repeating: 7, count: 512)))
                _ = try client.perform(.write(4096, [UInt8](repeating: 7, count: 1 << 20)))
                _ = try client.perform(.write(0, [UInt8](repeating: 7, count: 34 << 20)))
                _ = try client.perform(.read(0, 512))
                _ = try client.perform(.read(0, 1 << 20))
                _ = try client.perform(.read(0, 34 << 20))
                _ = try client.perform(.read(0, 0))
                // Behind the end of the disk.
                _ = try client.perform(.read(80 << 20, 512))
                for type in [3, 4, 5, 6, 7] as [UInt16] {
                    _ = try client.perform(ClientRequest(type: type, offset: 0, length: type == 3 ? 0 : 4096))
                }
            }
            let totals = Dictionary(
                uniqueKeysWithValues: RequestTallies.commands.map { ($0, test.tallies.totals(of: $0)) })
            #expect(
                totals.mapValues(\.requests) == [
                    .write: 3, .read: 5, .flush: 1, .trim: 1, .cache: 1, .writeZeroes: 1, .status: 1,
                ])
            #expect(totals[.write]?.bytes == 512 + (35 << 20))
            #expect(totals[.read]?.bytes == 512 + (35 << 20))
            #expect(totals[.trim]?.bytes == 4096)
            #expect(totals[.read]?.errors == 1)
            #expect(totals.values.reduce(0) { $0 + $1.errors } == 1)
            let seconds = totals.values.reduce(0) { $0 + Double($1.nanoseconds) / 1e9 }
            #expect(seconds > 0 && seconds < 60, "\(seconds)")
        }
    }

    @Test("An export that replaces one of its name -> goes on; a name that nobody uses is forgotten")
    func book() {
        let book = TallyBook(loops: 1)
        var first: RequestTallies? = book.tallies(of: "a")
        first?.tally(of: 0).record(.read, bytes: 1, hasFailed: false, nanoseconds: 1)
        #expect(book.tallies(of: "a") === first)
        #expect(book.all.map(\.export) == ["a"])
        first = nil
        #expect(book.all.isEmpty)
        #expect(book.tallies(of: "a").totals(of: .read).requests == 0)
    }
}
