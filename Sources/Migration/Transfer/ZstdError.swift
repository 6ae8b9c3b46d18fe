/// The compressed stream is broken, or the library has no memory for it.
struct ZstdError: Error, CustomStringConvertible {
    let reason: String

    var description: String { "zstd: \(reason)" }
}
