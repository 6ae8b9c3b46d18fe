/// The bytes of a client in the handshake.
enum ClientBytes {
    static func flags(_ flags: UInt32 = 3) -> [UInt8] { be(flags) }

    static func option(_ type: UInt32, _ payload: [UInt8] = []) -> [UInt8] {
        option(type, length: UInt32(payload.count)) + payload
    }

    static func option(_ type: UInt32, length: UInt32) -> [UInt8] {
        Array("IHAVEOPT".utf8) + be(type) + be(length)
    }

    static func meta(_ type: UInt32, _ name: String, _ queries: [String] = []) -> [UInt8] {
        option(type, string(name) + be(UInt32(queries.count)) + queries.flatMap(string))
    }

    private static func string(_ text: String) -> [UInt8] { be(UInt32(text.utf8.count)) + text.utf8 }

    static func go(_ name: String, wanting items: [UInt16] = [], type: UInt32 = 7) -> [UInt8] {
        let payload = be(UInt32(name.utf8.count)) + name.utf8 + be(UInt16(items.count)) + items.flatMap(be)
        return option(type, payload)
    }
}
