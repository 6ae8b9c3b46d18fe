/// A piece of work outside a machine has failed: a read, a write, a flush.
package struct WorkFailure: Error, Equatable, Sendable {
    /// An `errno`, never 0.
    package let code: CInt
    /// One line for the operator.
    package let reason: String

    package init(code: CInt, reason: String) {
        self.code = code
        self.reason = reason
    }

    /// `EIO` of Linux, spelled out because this module imports no C library.
    static let inputOutput: CInt = 5
}
