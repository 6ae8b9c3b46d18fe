import Foundation
import Hashing
import Index
import IndexSamples

/// Times look-ups in an index, on one core, and prints one JSON object a line.
///
///     LookupBenchmark INDEX BATCH QUESTIONS
@main
struct LookupBenchmark {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 4, let batch = Int(arguments[2]), let count = Int(arguments[3]), batch > 0, count > 0
        else {
            FileHandle.standardError.write(Data("usage: LookupBenchmark INDEX BATCH QUESTIONS\n".utf8))
            exit(2)
        }
        let before = Memory.now()
        let opened = ContinuousClock.now
        let index = try NeighbourIndex.open(directory: arguments[1])
        let seconds = opened.duration(to: .now) / .seconds(1)
        let after = Memory.now()
        let blocks = index.neighbours.reduce(0) { $0 + $1.blocks - $1.zero }
        print(
            """
            {"kind":"open","seconds":\(seconds),"neighbours":\(index.neighbours.count),"blocks":\(blocks),\
            "catalogues":\(index.catalogues),"memoryBefore":\(before.anonymous),"memory":\(after.anonymous),\
            "problems":\(index.problems.count)}
            """)
        let samples = Samples(index)
        let disks = samples.disks(4)
        let scratch = try build(disks)
        run("scattered", samples.scattered(count), batch, index.lookUp)
        run("absent", samples.absent(count), batch, index.lookUp)
        run("twin", samples.twin(count, changedEvery: 50), batch, index.lookUp)
        let memory = samples.memory(count, of: disks)
        run("memory", memory, batch, index.lookUp)
        run("memory, scratch index", memory, batch) { scratch.lookUp($0) }
        run("absent, scratch index", samples.absent(count), batch) { scratch.lookUp($0) }
        print("{\"kind\":\"end\",\"memory\":\(Memory.now().anonymous),\"mapped\":\(Memory.now().mapped)}")
    }

    /// Builds the index that finds pages of a guest's memory on its disks.
    private static func build(_ disks: [TableDisk]) throws -> FingerprintIndex {
        let before = Memory.now()
        let began = ContinuousClock.now
        let index = try FingerprintIndex(
            of: disks, directory: NSTemporaryDirectory(), threads: ProcessInfo.processInfo.activeProcessorCount)
        let seconds = began.duration(to: .now) / .seconds(1)
        let blocks = disks.reduce(0) { $0 + $1.dataBlocksLimit }
        print(
            """
            {"kind":"build","seconds":\(seconds),"disks":\(disks.count),"blocks":\(blocks),\
            "memoryBefore":\(before.anonymous),"memory":\(Memory.now().anonymous)}
            """)
        return index
    }

    /// The second time counts: then everything is in the page cache.
    private static func run<Answer>(
        _ kind: String, _ questions: [Fingerprint], _ batch: Int, _ lookUp: ([Fingerprint]) -> [Answer?]
    ) {
        var found = 0
        var seconds = 0.0
        for _ in 0..<2 {
            found = 0
            let began = clock_gettime_nsec()
            for start in stride(from: 0, to: questions.count, by: batch) {
                let part = Array(questions[start..<min(start + batch, questions.count)])
                found += lookUp(part).count { $0 != nil }
            }
            seconds = Double(clock_gettime_nsec() - began) / 1e9
        }
        let rate = Int(Double(questions.count) / seconds)
        print(
            "{\"kind\":\"\(kind)\",\"batch\":\(batch),\"questions\":\(questions.count),\"found\":\(found),\"perSecond\":\(rate)}"
        )
    }

    /// Of this thread's processor time.
    private static func clock_gettime_nsec() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
