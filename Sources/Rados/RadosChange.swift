import Foundation

/// One part of a change to an object. All parts happen, or none.
package enum RadosChange: Sendable {
    /// Makes the object; fails with `EEXIST` if it is there.
    case create
    /// Makes the object if it is not there.
    case createIfAbsent
    /// Fails with `ECANCELED` unless the attribute has this value.
    case expect(attribute: String, value: String)
    case setAttribute(String, value: String)
    /// Replaces the contents.
    case contents(Data)
    case set(key: String, value: Data)
    /// Removes a key of any bytes, if it is there.
    case removeEntry(key: [UInt8])

    package static func remove(key: String) -> RadosChange { .removeEntry(key: Array(key.utf8)) }
}
