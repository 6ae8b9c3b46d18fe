import CLinux
import Glibc

/// A way into an image that passes by the page cache (O_DIRECT), for requests whose ends fall on whole sectors.
///
/// The others go through the page cache, and while they do, nothing else may change the pages that they touch: a page
/// is written back whole, with whatever it held of its neighbours. Hence the claims.
final class DirectAccess: Sendable {
    /// A page of the cache, which no sector is larger than.
    private static let page: UInt64 = 4096

    let descriptor: CInt
    let claims = RangeClaims()
    private let alignment: UInt64

    /// Opens the file of the descriptor `file` once more.
    /// - Throws: `FileError` where its file system can't, or its size has no whole number of sectors.
    init(_ file: CInt, path: String, size: UInt64, access: RawImage.Access) throws {
        let flags = (access == .readOnly ? O_RDONLY : O_RDWR) | O_CLOEXEC | linux_o_direct
        let direct = open("/proc/self/fd/\(file)", flags)
        guard direct >= 0 else { throw FileError("open with O_DIRECT", path) }
        descriptor = direct
        alignment = UInt64(linux_direct_alignment(direct))
        try check(size: size, path: path)
    }

    deinit { close(descriptor) }

    /// - Throws: `FileError` where an image of `size` bytes has no whole number of sectors.
    func check(size: UInt64, path: String) throws {
        guard size % alignment != 0 else { return }
        throw FileError(
            "use O_DIRECT, with sectors of \(alignment) bytes, for the \(size) bytes of", path, code: EINVAL)
    }

    /// Whether a request may pass by the page cache.
    func suits(_ request: UnsafeMutablePointer<BlockRequest>) -> Bool {
        (request.pointee.offset | request.pointee.length) % alignment == 0
            && UInt(bitPattern: request.pointee.buffer) % UInt(alignment) == 0
    }

    /// What a request has to claim; nil for nothing.
    func claim(of request: UnsafeMutablePointer<BlockRequest>) -> RangeClaims.Claim? {
        let isBuffered = !suits(request)
        guard request.pointee.kind.isChange || (isBuffered && request.pointee.kind == .read) else { return nil }
        let end = request.pointee.offset + request.pointee.length
        let range = request.pointee.offset / Self.page * Self.page..<(end + Self.page - 1) / Self.page * Self.page
        return RangeClaims.Claim(range: range, isExclusive: isBuffered)
    }
}
