/// Finds the pages in one direction of one connection of a memory migration.
package protocol StreamParser: Sendable {
    /// Divides bytes into parts.
    /// - Parameters:
    ///   - bytes: the stream from the first byte that no part has covered yet.
    ///   - isWaiting: nothing more is there now. All bytes are then covered, a page that is not whole as `.bytes`, and the
    ///     parser still finds the pages behind it.
    ///   - parts: the new parts are appended; neighbouring `.bytes` may be separate parts.
    /// - Returns: the bytes that the new parts cover. Less than 8 KiB are left, and none if `isWaiting`.
    mutating func parse(_ bytes: UnsafeRawBufferPointer, isWaiting: Bool, into parts: inout [StreamPart]) -> Int

    /// The reason, in a line, why the rest of the stream is passed on as it is; nil as long as pages are looked for.
    var problem: String? { get }

    /// The stage that the stream has reached, as far as it could be understood.
    var stage: MemoryStage { get }
}

extension StreamParser {
    package var stage: MemoryStage { .preCopy }
}
