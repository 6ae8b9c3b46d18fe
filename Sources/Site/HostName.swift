/// The names of a site's hosts: each names a folder of the store.
package enum HostName {
    /// The most bytes of a name.
    package static let maximumLength = 64

    /// Returns whether a name has 1 to 64 letters, digits, dots, hyphens and underscores, and begins with none of `.-`.
    package static func isValid(_ name: String) -> Bool {
        guard (1...maximumLength).contains(name.utf8.count), let first = name.first, first != ".", first != "-" else {
            return false
        }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }
}
