import Foundation
import NBDServer
import Ring

/// Looks at the kernel and the limits of this process.
enum HostChecks {
    private static let oldestKernel = (6, 1)
    /// Descriptors for images, tables, peers and the rest, beside those of clients.
    private static let otherDescriptors = 3072
    /// MiB that a node may take for each core, and in all besides; docs/limits.md, "Memory".
    private static let mebibytesPerCore = 129
    private static let otherMebibytes = 256

    /// - Parameter descriptorLimit: The files that the node's service may have open; nil if it has this process's limit.
    static func findings(descriptorLimit: UInt64?) -> [DoctorFinding] {
        [kernel(), ring(), descriptors(descriptorLimit), memory(), congestionControl()]
    }

    private static func kernel() -> DoctorFinding {
        var name = utsname()
        uname(&name)
        let release = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let numbers = release.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
        guard numbers.count == 2, (numbers[0], numbers[1]) >= oldestKernel else {
            return .warning("kernel", "Linux \(release)", do: "use Linux 6.1 or newer, with which nearblock is tested")
        }
        return .ok("kernel", "Linux \(release)")
    }

    private static func ring() -> DoctorFinding {
        let disabled = read("/proc/sys/kernel/io_uring_disabled")
        do {
            try EventLoop(index: 0).stop()
            return .ok("io_uring", "a ring can be made")
        } catch {
            let setting = disabled.map { "kernel.io_uring_disabled is \($0)" } ?? "there is no kernel.io_uring_disabled"
            return .fault(
                "io_uring", "\(error); \(setting), and \(limit(__RLIMIT_MEMLOCK).soft) bytes may be locked",
                do:
                    "sysctl kernel.io_uring_disabled=0, allow io_uring in the seccomp profile of a container, and raise "
                    + "LimitMEMLOCK=")
        }
    }

    private static func descriptors(_ ofService: UInt64?) -> DoctorFinding {
        let wanted = ServerLimits.connections + otherDescriptors
        let hard = ofService ?? limit(RLIMIT_NOFILE).hard
        guard hard < wanted else { return .ok("descriptors", "\(hard) files may be open") }
        return .warning(
            "descriptors",
            "\(hard) files may be open, and \(wanted) are wanted for \(ServerLimits.connections) clients",
            do: "set LimitNOFILE=65536 in the unit, or ulimit -Hn 65536")
    }

    private static func memory() -> DoctorFinding {
        let lines = read("/proc/meminfo")?.split(separator: "\n") ?? []
        let available = lines.first { $0.hasPrefix("MemAvailable:") }?.split(separator: " ").dropFirst().first
        let huge = read("/sys/kernel/mm/transparent_hugepage/enabled")?.split(separator: " ").first {
            $0.hasPrefix("[")
        }
        let pages = huge.map { ", transparent huge pages \($0)" } ?? ""
        guard let free = available.flatMap({ Int($0) }).map({ $0 >> 10 }) else {
            return .warning("memory", "/proc/meminfo does not say how much is available\(pages)", do: nil)
        }
        let wanted = ProcessInfo.processInfo.activeProcessorCount * mebibytesPerCore + otherMebibytes
        guard free < wanted else { return .ok("memory", "\(free) MiB are available\(pages)") }
        return .warning(
            "memory", "\(free) MiB are available\(pages), and a busy node may take \(wanted) MiB here",
            do: "give the machine more memory, or fewer cores to the node (taskset)")
    }

    private static func congestionControl() -> DoctorFinding {
        let kinds = read("/proc/sys/net/ipv4/tcp_available_congestion_control")?.split(separator: " ") ?? []
        if kinds.contains("bbr") { return .ok("tcp", "BBR is available for links to other nodes") }
        return .warning(
            "tcp", "BBR is not available, so links to other nodes are slow where packets are lost",
            do: "modprobe tcp_bbr, and a line tcp_bbr in /etc/modules-load.d/")
    }

    /// The contents of a small file of the kernel, without the last newline; nil if it can't be read.
    static func read(_ path: String) -> String? {
        (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private static func limit(_ kind: __rlimit_resource) -> (soft: UInt64, hard: UInt64) {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(kind.rawValue), &limit)
        return (UInt64(limit.rlim_cur), UInt64(limit.rlim_max))
    }
}
