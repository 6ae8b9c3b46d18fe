import Block
import Foundation
import Glibc

/// Serializes the flushes of one directory by several threads. A flush that succeeds says nothing about a change that an
/// overlapping one has failed on, since the kernel reports an error only once.
///
/// `@unchecked Sendable`: the condition's lock guards everything.
final class DirectoryFlushes: @unchecked Sendable {
    private let condition = NSCondition()
    private var failed = 0
    private var last = 0
    private var running: Set<Int> = []

    /// The number of failed flushes; to be read before the change that is to be flushed.
    var failures: Int { condition.withLock { failed } }

    /// Flushes the directory, and waits for the flushes that have begun meanwhile.
    /// - Parameter failures: as they were before the change.
    /// - Throws: as `flush`; `FileError` if another one has failed since.
    func flush(_ path: String, since failures: Int, _ flush: () throws -> Void) throws {
        let number = condition.withLock {
            last += 1
            running.insert(last)
            return last
        }
        do { try flush() } catch {
            end(number, hasFailed: true)
            throw error
        }
        end(number, hasFailed: false)
        let hasOtherFailed = condition.withLock {
            let begun = last
            while running.contains(where: { $0 <= begun }) { condition.wait() }
            return failed != failures
        }
        if hasOtherFailed { throw FileError("flush", path, code: EIO) }
    }

    private func end(_ number: Int, hasFailed: Bool) {
        condition.withLock {
            running.remove(number)
            if hasFailed { failed += 1 }
            condition.broadcast()
        }
    }
}
