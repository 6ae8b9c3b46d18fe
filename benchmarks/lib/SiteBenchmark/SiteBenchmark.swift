import Foundation
import Glibc
import Hashing
import Index
import IndexSamples

/// Times the samples of a site whose tables are in a store already, and prints one JSON object a line.
///
///     SiteBenchmark STORE SCRATCH QUESTIONS
@main
struct SiteBenchmark {
    private let store: String
    private let scratch: String
    private let hosts: [RemoteTables]

    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 4, let questions = Int(arguments[3]), questions > 0 else {
            FileHandle.standardError.write(Data("usage: SiteBenchmark STORE SCRATCH QUESTIONS\n".utf8))
            exit(2)
        }
        let benchmark = try SiteBenchmark(store: arguments[1], scratch: arguments[2])
        try benchmark.list()
        try benchmark.merge()
        try benchmark.lookUp(questions)
    }

    private init(store: String, scratch: String) throws {
        self.store = store
        self.scratch = scratch
        let reader = NoImages()
        hosts = try FileManager.default.contentsOfDirectory(atPath: "\(store)/hosts").sorted().map {
            RemoteTables(host: $0, folder: DirectoryFolder(path: "\(store)/hosts/\($0)"), reader: reader)
        }
    }

    private var samples: String { "\(store)/samples" }

    private func tables(_ hosts: [RemoteTables]) -> SiteTables {
        SiteTables(hosts: hosts, samples: DirectoryFolder(path: samples), blockSize: 4096)
    }

    /// Publishes a catalogue; returns whether there was one.
    private func publish(_ change: SampleCatalogues.Change) throws -> Bool {
        guard let file = change.file else { return false }
        let name = URL(fileURLWithPath: file).lastPathComponent
        try FileManager.default.moveItem(atPath: file, toPath: "\(samples)/\(name)")
        for name in change.replaced { unlink("\(samples)/\(name)") }
        return true
    }

    /// Each host lists its own tables, as a node does after it has published them.
    private func list() throws {
        let began = ContinuousClock.now
        var longest = 0.0
        for host in hosts {
            let start = ContinuousClock.now
            let change = try SampleCatalogues(scratch: scratch, threads: 1).update(
                tables([host]), isMerging: false, owner: host.host)
            _ = try publish(change)
            longest = max(longest, (.now - start) / .seconds(1))
        }
        print(
            """
            {"kind":"list","hosts":\(hosts.count),"seconds":\((.now - began) / .seconds(1)),"longest":\(longest)}
            """)
    }

    /// One host merges what all have listed.
    private func merge() throws {
        let began = ContinuousClock.now
        var merges = 0
        while try publish(
            SampleCatalogues(scratch: scratch, threads: 1).update(tables(hosts), isMerging: true, owner: nil))
        { merges += 1 }
        print("{\"kind\":\"merge\",\"merges\":\(merges),\"seconds\":\((.now - began) / .seconds(1))}")
    }

    private func open() throws -> SiteTables {
        let began = ContinuousClock.now
        let site = tables(hosts)
        let seconds = (.now - began) / .seconds(1)
        print(
            """
            {"kind":"open","seconds":\(seconds),"tables":\(site.neighbours.count),"catalogues":\(site.catalogues),\
            "samples":\(site.sampleCount),"sampleBytes":\(site.sampleBytes),"unlisted":\(site.uncovered),\
            "blocks":\(site.neighbours.reduce(0) { $0 + $1.blocks })}
            """)
        return site
    }

    /// Disks that resemble one image but for each fiftieth block, and disks that resemble none. The memory is what a second
    /// look at the store adds: the questions are not the site's.
    private func lookUp(_ count: Int) throws {
        let samples = Samples(NeighbourIndex.of(try open()))
        let kinds = [("twin", samples.twin(count, changedEvery: 50)), ("absent", samples.absent(count))]
        let before = Memory.now()
        let index = NeighbourIndex.of(tables(hosts))
        for (kind, questions) in kinds {
            var (found, seconds) = (0, 0.0)
            // The second time counts: then everything is in the page cache.
            for _ in 0..<2 {
                found = 0
                let began = Self.processorTime()
                for start in stride(from: 0, to: questions.count, by: 4096) {
                    let part = Array(questions[start..<min(start + 4096, questions.count)])
                    found += index.lookUp(part).count { $0 != nil }
                }
                seconds = Self.processorTime() - began
            }
            let now = Memory.now()
            print(
                """
                {"kind":"\(kind)","questions":\(questions.count),"found":\(found),\
                "perSecond":\(Int(Double(questions.count) / seconds)),"memory":\(now.anonymous - before.anonymous),\
                "mapped":\(now.mapped - before.mapped)}
                """)
        }
    }

    /// Seconds of this thread.
    private static func processorTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
