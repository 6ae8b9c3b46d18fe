import Foundation

extension RawImage {
    /// Whether the disk under the image is slow to seek, according to sysfs (`queue/rotational`); false if unknown.
    public var isRotational: Bool {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { return false }
        let device = isBlockDevice ? info.st_rdev : info.st_dev
        // glibc's gnu_dev_major(3) packs the numbers in this way; its macros are not visible in Swift.
        let major = device >> 8 & 0xfff
        let minor = device & 0xff | device >> 12 & 0xfff00
        let directory = "/sys/dev/block/\(major):\(minor)"
        // A partition uses its disk's queue.
        for place in ["/queue/rotational", "/../queue/rotational"] {
            if let text = try? String(contentsOfFile: directory + place, encoding: .utf8) { return text.hasPrefix("1") }
        }
        return false
    }
}
