import CLinux
import Glibc

/// Access to an image without the page cache (O_DIRECT), for requests whose ends fall on whole sectors.
///
/// Other requests use the page cache. Meanwhile nothing else may change the pages that they touch, because a page is
/// written back whole, with stale bytes of its neighbours. `claims` keeps such requests apart.
final class DirectAccess: Sendable {
    /// Bytes of a page of the cache; no sector is larger.
    private static let page: UInt64 = 4096

    let descriptor: CInt
    let claims = RangeClaims()
    private let alignment: UInt64

    /// Opens the file of the descriptor `file` a second time.
    /// - Throws: `FileError` if its file system has no O_DIRECT, or its size is no multiple of the sector size.
    init(_ file: CInt, path: String, size: UInt64, access: RawImage.Access) throws {
        let flags = (access == .readOnly ? O_RDONLY : O_RDWR) | O_CLOEXEC | linux_o_direct
        let direct = open("/proc/self/fd/\(file)", flags)
        guard direct >= 0 else { throw FileError("open with O_DIRECT", path) }
        descriptor = direct
        alignment = UInt64(linux_direct_alignment(direct))
        try check(size: size, path: path)
    }

    deinit { close(descriptor) }

    /// Checks the size of an image.
    /// - Throws: `FileError` if `size` is no multiple of the sector size.
    func check(size: UInt64, path: String) throws {
        guard size % alignment != 0 else { return }
        throw FileError(
            "use O_DIRECT, with sectors of \(alignment) bytes, for the \(size) bytes of", path, code: EINVAL)
    }

    /// Whether a request may bypass the page cache.
    func suits(_ request: UnsafeMutablePointer<BlockRequest>) -> Bool {
        (request.pointee.offset | request.pointee.length) % alignment == 0
            && UInt(bitPattern: request.pointee.buffer) % UInt(alignment) == 0
    }

    /// The claim that a request needs; nil if it needs none.
    func claim(of request: UnsafeMutablePointer<BlockRequest>) -> RangeClaims.Claim? {
        let isBuffered = !suits(request)
        guard request.pointee.kind.isChange || (isBuffered && request.pointee.kind == .read) else { return nil }
        let end = request.pointee.offset + request.pointee.length
        let range = request.pointee.offset / Self.page * Self.page..<(end + Self.page - 1) / Self.page * Self.page
        return RangeClaims.Claim(range: range, isExclusive: isBuffered)
    }
}
