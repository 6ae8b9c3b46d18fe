import Foundation

/// A client that holds the exclusive lock of an image.
struct RBDLocker: Sendable, Equatable {
    private static let lock = "rbd_lock"
    private static let room = 4096

    /// As Ceph calls it, `client.4123`.
    let client: String
    let cookie: String
    /// As watchers are named.
    let address: String

    /// The holders of an image's lock.
    /// - Returns: A negative code on failure.
    static func all(
        of header: String, _ library: RadosLibrary, _ context: RadosLibrary.Handle
    ) -> (code: CInt, lockers: [RBDLocker]) {
        var exclusive: CInt = 0
        var (tag, owners, cookies, addresses) = (
            [CChar](repeating: 0, count: room), [CChar](repeating: 0, count: room), [CChar](repeating: 0, count: room),
            [CChar](repeating: 0, count: room)
        )
        var (tagLength, ownerLength, cookieLength, addressLength) = (room, room, room, room)
        let count = library.lockers(
            context, header, lock, &exclusive, &tag, &tagLength, &owners, &ownerLength, &cookies, &cookieLength,
            &addresses, &addressLength)
        guard count >= 0 else { return (count == -Int(ENOENT) ? 0 : CInt(clamping: count), []) }
        let (clients, tokens) = (texts(owners, ownerLength), texts(cookies, cookieLength))
        let places = texts(addresses, addressLength)
        guard clients.count >= count, tokens.count >= count, places.count >= count else { return (-EIO, []) }
        return (0, (0..<count).map { RBDLocker(client: clients[$0], cookie: tokens[$0], address: bare(places[$0])) })
    }

    /// Takes the lock from a client that is fenced. librbd would fence it again, for an hour, when the next one writes.
    /// - Returns: 0, or a negative code.
    func remove(from header: String, _ library: RadosLibrary, _ context: RadosLibrary.Handle) -> CInt {
        let result = library.breakLock(context, header, Self.lock, client, cookie)
        return result == -ENOENT ? 0 : result
    }

    private static func texts(_ buffer: [CChar], _ length: Int) -> [String] {
        let bytes = buffer.prefix(max(0, min(room, length))).map { UInt8(bitPattern: $0) }
        return bytes.split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Removes the version of the protocol, which watchers are named without.
    private static func bare(_ address: String) -> String {
        address.hasPrefix("v1:") ? String(address.dropFirst(3)) : address
    }
}
