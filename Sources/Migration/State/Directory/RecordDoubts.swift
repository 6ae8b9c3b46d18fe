import Foundation
import NIOConcurrencyHelpers

/// The records of a state directory whose last change may not have reached the disk, with their contents.
///
/// A flush that succeeds need not cover what an earlier one failed on, so that such a record must be changed anew.
final class RecordDoubts: Sendable {
    private let records = NIOLockedValueBox<[String: Data]>([:])

    /// The contents of a record whose last change is not confirmed; nil if it is.
    subscript(_ name: String) -> Data? {
        get { records.withLockedValue { $0[name] } }
        set { records.withLockedValue { $0[name] = newValue } }
    }

    /// The records in doubt.
    var names: [String] { records.withLockedValue { $0.keys.sorted() } }
}
