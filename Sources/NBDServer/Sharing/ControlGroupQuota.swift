/// The processor time that control groups allow this process; cgroups(7), version 2.
enum ControlGroupQuota {
    /// Returns the smallest limit of the process's group and those around it, in thousandths of a core; nil if there is none.
    static func current() -> Int? {
        guard let groups = SystemFile.text("/proc/self/cgroup"),
            let line = groups.split(separator: "\n").first(where: { $0.hasPrefix("0::") })
        else { return nil }
        var path = String(line.dropFirst(3))
        var smallest: Int?
        while true {
            if let limit = SystemFile.text("/sys/fs/cgroup\(path)/cpu.max").flatMap(parse) {
                smallest = min(smallest ?? limit, limit)
            }
            guard let slash = path.lastIndex(of: "/"), path.count > 1 else { return smallest }
            path = slash == path.startIndex ? "/" : String(path[..<slash])
        }
    }

    /// Returns the limit in `cpu.max`, in thousandths of a core; nil if it sets none.
    static func parse(_ text: String) -> Int? {
        let fields = text.split { $0 == " " || $0 == "\n" }
        guard fields.count == 2, let quota = Int(fields[0]), let period = Int(fields[1]), quota > 0, period > 0 else {
            return nil
        }
        let (scaled, overflows) = quota.multipliedReportingOverflow(by: 1000)
        return overflows ? nil : scaled / period
    }
}
