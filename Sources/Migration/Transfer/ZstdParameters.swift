import CZstd

/// The zstd parameters on which both ends of the data stream agree.
enum ZstdParameters {
    /// 128 MiB: repeats within that distance vanish.
    static let windowLog: Int32 = 27
    /// 256 MiB: of frames that begin with a prefix, to which they refer as long as they are not longer.
    static let prefixWindowLog: Int32 = 28
    /// Memory that the window of such a frame takes more than that of another.
    static let prefixWindowBytes = 1 << Int(prefixWindowLog) - 1 << Int(windowLog)
    /// The lowest level of a frame that refers to a prefix. At levels 1 to 4, threads of zstd 1.5.4 know only the last 16 MiB
    /// of one. Their search for long repeats finds places before that, and the process crashes.
    static let lowestPrefixLevel: Int32 = 6
    /// 128 KiB: for blocks that a client waits for after the switchover.
    static let demandWindowLog: Int32 = 17

    /// - Throws: `ZstdError` if the library reports an error.
    @discardableResult
    static func check(_ result: Int) throws -> Int {
        guard ZSTD_isError(result) == 0 else {
            throw ZstdError(reason: String(cString: ZSTD_getErrorName(result)))
        }
        return result
    }
}
