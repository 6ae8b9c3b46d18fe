import Foundation
import Glibc

/// Figures of the system about this process, under the names that Prometheus' client libraries use.
public enum ProcessFigures {
    /// Reads /proc and the limits now; a figure that can't be read is left out.
    /// - Parameter openDescriptors: number of open descriptors; 0 if it is unknown.
    public static func families(openDescriptors: Int) -> [MetricFamily] {
        let fields = statistics()
        let ticks = Double(sysconf(CInt(_SC_CLK_TCK)))
        let page = UInt64(sysconf(CInt(_SC_PAGESIZE)))
        return [
            family("cpu_seconds_total", .counter, "Processor time of the process.", cpuSeconds.map { .number($0) }),
            family(
                "resident_memory_bytes", .gauge, "Memory of the process that is in RAM.",
                fields[23].map { .count($0 &* page) }),
            family("virtual_memory_bytes", .gauge, "Addresses that the process uses.", fields[22].map { .count($0) }),
            family(
                "open_fds", .gauge, "Open file descriptors.",
                openDescriptors > 0 ? .count(UInt64(openDescriptors)) : nil),
            family("max_fds", .gauge, "Limit of open file descriptors.", descriptorLimit.map { .number($0) }),
            family(
                "start_time_seconds", .gauge, "Start of the process, in seconds since 1970.",
                fields[21].flatMap { start in bootTime.map { .number($0 + Double(start) / ticks) } }),
        ]
    }

    private static func family(_ name: String, _ kind: MetricFamily.Kind, _ help: String, _ value: MetricValue?)
        -> MetricFamily
    {
        MetricFamily("process_\(name)", kind, help, value.map { [MetricSample(value: $0)] } ?? [])
    }

    private static var cpuSeconds: Double? {
        var usage = rusage()
        guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return nil }
        return [usage.ru_utime, usage.ru_stime].reduce(0) { $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6 }
    }

    private static var descriptorLimit: Double? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return limit.rlim_cur == .max ? .infinity : Double(limit.rlim_cur)
    }

    /// Fields of /proc/self/stat by their numbers in proc(5), less one; those that are no numbers are missing.
    private static func statistics() -> [Int: UInt64] {
        guard let text = read("/proc/self/stat"), let end = text.lastIndex(of: ")") else { return [:] }
        // The name in parentheses may have blanks; the state, field 3, follows it.
        let rest = text[text.index(after: end)...].split(separator: " ")
        return Dictionary(
            uniqueKeysWithValues: rest.enumerated().compactMap { place, field in
                UInt64(field.trimmingCharacters(in: .newlines)).map { (place + 2, $0) }
            })
    }

    /// Seconds since 1970.
    private static var bootTime: Double? {
        read("/proc/stat")?.split(separator: "\n").first { $0.hasPrefix("btime ") }.flatMap { Double($0.dropFirst(6)) }
    }

    private static func read(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }
}
