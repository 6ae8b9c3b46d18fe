import Block
import Daemon
import Glibc

/// Looks at the image of an export without opening it for writing.
struct ImageCheck {
    let export: ExportConfiguration

    /// Faults in one line each; those that keep the export from being served are mistakes.
    func problems() -> [(text: String, isMistake: Bool)] {
        let path = export.backing
        if NBDClientImage.isURI(path) {
            return export.isDirect ? [("direct is for files and block devices only; leave it out", true)] : []
        }
        var info = stat()
        guard stat(path, &info) == 0 else {
            return [
                ("\(path): \(String(cString: strerror(errno))); give the path of a raw image or block device", true)
            ]
        }
        let kind = info.st_mode & S_IFMT
        guard kind == S_IFREG || kind == S_IFBLK else {
            return [("\(path) is neither a file nor a block device; give a raw image or a block device", true)]
        }
        let wanted = export.isReadOnly ? R_OK : R_OK | W_OK
        guard access(path, wanted) == 0 else {
            let use = export.isReadOnly ? "read" : "read and written, and read-only is not set"
            return [("\(path) can't be \(use): \(String(cString: strerror(errno))); change its mode or owner", true)]
        }
        if kind == S_IFREG, info.st_size == 0 { return [("\(path) is empty: a disk has at least 1 byte", true)] }
        return format(path).map { [($0.warning(of: path, .served), false)] } ?? []
    }

    private func format(_ path: String) -> ImageFormat? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var start = [UInt8](repeating: 0, count: ImageFormat.length)
        let count = read(descriptor, &start, start.count)
        return count > 0 ? ImageFormat(start: Array(start.prefix(count))) : nil
    }
}
