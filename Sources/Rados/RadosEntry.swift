import Foundation

/// A key of an object with its value. A member of a site, or damage, may have written any bytes.
package struct RadosEntry: Sendable {
    package let key: [UInt8]
    /// Empty if it has more than `RadosPool.longestValue` bytes.
    package let value: Data

    /// The key as text; nil if it is damaged: empty, no UTF-8, or with control characters, zeros above all.
    package var name: String? {
        guard !key.isEmpty, !key.contains(where: { $0 < 0x20 }) else { return nil }
        return String(validating: key, as: UTF8.self)
    }

    package init(key: [UInt8], value: Data) {
        (self.key, self.value) = (key, value)
    }
}
