import Foundation

extension RawImage {
    /// Whether the disk under the image is slow to seek, as sysfs says; false where it does not. `queue/rotational`.
    public var isRotational: Bool {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { return false }
        let device = isBlockDevice ? info.st_rdev : info.st_dev
        // As glibc's gnu_dev_major(3) packs them; Swift has no view of the macros.
        let major = device >> 8 & 0xfff
        let minor = device & 0xff | device >> 12 & 0xfff00
        let directory = "/sys/dev/block/\(major):\(minor)"
        // A partition's queue is its disk's.
        for place in ["/queue/rotational", "/../queue/rotational"] {
            if let text = try? String(contentsOfFile: directory + place, encoding: .utf8) { return text.hasPrefix("1") }
        }
        return false
    }
}
