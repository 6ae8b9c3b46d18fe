import Glibc

/// A group of this system, given by name or number.
public struct GroupName: Sendable {
    private static let longestEntry = 1 << 20

    /// Number of the group.
    public let number: gid_t

    /// - Throws: `InvalidValue` if there is no such group.
    public init(_ text: String) throws(InvalidValue) {
        if let number = try Self.lookUp(text) {
            self.number = number
            return
        }
        // The last number means "no change" in chown(2).
        guard let number = gid_t(text), number < .max else {
            throw InvalidValue("there is no group '\(text)'; give one that getent group shows")
        }
        self.number = number
    }

    private static func lookUp(_ name: String) throws(InvalidValue) -> gid_t? {
        var room = 1 << 12
        while true {
            var entry = group()
            var found: UnsafeMutablePointer<group>?
            let buffer = UnsafeMutablePointer<CChar>.allocate(capacity: room)
            defer { buffer.deallocate() }
            let code = getgrnam_r(name, &entry, buffer, room, &found)
            if code == 0 || code == ENOENT { return found == nil ? nil : entry.gr_gid }
            guard code == ERANGE, room < longestEntry else {
                if code == EINTR { continue }
                throw InvalidValue("the group '\(name)' can't be looked up: \(String(cString: strerror(code)))")
            }
            room *= 2
        }
    }
}
