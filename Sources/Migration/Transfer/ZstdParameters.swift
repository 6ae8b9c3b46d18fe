import CZstd

/// What both ends of the data stream agree on.
enum ZstdParameters {
    /// 128 MiB: repeats within that distance vanish.
    static let windowLog: Int32 = 27
    /// 128 KiB: for what somebody waits for after the hand-over.
    static let demandWindowLog: Int32 = 17

    /// - Throws: `ZstdError` where the library reports one.
    @discardableResult
    static func check(_ result: Int) throws -> Int {
        guard ZSTD_isError(result) == 0 else {
            throw ZstdError(reason: String(cString: ZSTD_getErrorName(result)))
        }
        return result
    }
}
