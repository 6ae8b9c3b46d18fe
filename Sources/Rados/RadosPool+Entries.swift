import Foundation

/// Reading the keys and values of an object.
extension RadosPool {
    /// The largest value in bytes that is read: more than any that this program writes.
    static let longestValue = 2 << 20
    /// The most entries in one answer. The library has the whole answer in memory. An entry may have as many bytes as a
    /// request to an OSD, 90 MB by default.
    private static let mostAtOnce: UInt64 = 4

    /// The places where the library writes an answer.
    private struct Answer {
        var iterator: RadosLibrary.Handle?
        var hasMore: UInt8 = 0
        var result: CInt = 0
    }

    /// Reads the entries of an object up to a limit; nil if there is no such object.
    package func listing(_ object: String) throws(RadosError) -> RadosListing? {
        try listing(object, RadosListing.Limits())
    }

    func listing(_ object: String, _ limits: RadosListing.Limits) throws(RadosError) -> RadosListing? {
        try RadosListing(limits) { key throws(RadosError) in
            try part(of: object) { library, operation, answer in
                Self.withBytes(of: key + [0]) { key, _ in
                    guard let key else { return }
                    library.readKeys(
                        operation, key, "", Self.mostAtOnce, answer.pointer(to: \.iterator)!,
                        answer.pointer(to: \.hasMore)!, answer.pointer(to: \.result)!)
                }
            }
        }
    }

    /// Reads all entries of an object, sorted by key, without those whose keys are damaged; nil if there is no such object.
    /// - Throws: `RadosError`, also if the object has more entries than a listing takes.
    package func entries(_ object: String) throws(RadosError) -> [(key: String, value: Data)]? {
        try entries(object, RadosListing.Limits())
    }

    func entries(
        _ object: String, _ limits: RadosListing.Limits
    ) throws(RadosError) -> [(key: String, value: Data)]? {
        guard let listing = try listing(object, limits) else { return nil }
        guard listing.isWhole else {
            throw RadosError(
                "list \(place) \(object)",
                reason: "it has more than \(limits.entries) entries, or \(limits.bytes >> 20) MiB of them; remove the "
                    + "host whose folder it is by `nearblock site remove`, or keys by `rados rmomapkey`")
        }
        return listing.entries.compactMap { entry in entry.name.map { ($0, entry.value) } }
    }

    /// Reads the value of one key; nil if the object has no such key, or is not there.
    package func value(of key: String, in object: String) throws(RadosError) -> Data? {
        let found = try part(of: object) { library, operation, answer in
            Self.withBytes(of: Array(key.utf8)) { key, length in
                var (keys, length): (UnsafePointer<CChar>?, Int) = (key, length)
                library.readValues(
                    operation, &keys, 1, &length, answer.pointer(to: \.iterator)!, answer.pointer(to: \.result)!)
            }
        }
        return found?.entries.first?.value
    }

    /// Reads the entries that an operation asks for; nil if there is no such object.
    private func part(
        of object: String,
        _ prepare: (RadosLibrary, _ operation: RadosLibrary.Handle, UnsafeMutablePointer<Answer>) -> Void
    ) throws(RadosError) -> RadosListing.Part? {
        var part = RadosListing.Part()
        let result = try call("list", object, allowing: [ENOENT]) { library, context in
            guard let operation = library.createRead() else { return -ENOMEM }
            defer { library.releaseRead(operation) }
            // The library keeps the addresses from the preparation until the operation has been performed.
            let answer = UnsafeMutablePointer<Answer>.allocate(capacity: 1)
            answer.initialize(to: Answer())
            defer { answer.deallocate() }
            prepare(library, operation, answer)
            // The iterator is there as soon as the operation has been prepared, whatever comes of it.
            defer { if let iterator = answer.pointee.iterator { library.endKeys(iterator) } }
            let status = library.performRead(operation, context, object, 0)
            // The second one says nothing of an object that is not there.
            guard status >= 0 else { return status }
            guard answer.pointee.result >= 0 else { return answer.pointee.result }
            guard let iterator = answer.pointee.iterator else { return -EIO }
            part = RadosListing.Part(hasMore: answer.pointee.hasMore != 0)
            return Self.add(iterator, to: &part, library)
        }
        return result < 0 ? nil : part
    }

    /// - Returns: 0, or the negative code.
    private static func add(
        _ iterator: RadosLibrary.Handle, to part: inout RadosListing.Part, _ library: RadosLibrary
    ) -> CInt {
        while true {
            var (key, value): (UnsafeMutablePointer<CChar>?, UnsafeMutablePointer<CChar>?) = (nil, nil)
            var (keyLength, valueLength) = (0, 0)
            let next = library.nextKey(iterator, &key, &value, &keyLength, &valueLength)
            guard next >= 0 else { return next }
            guard let key else { return 0 }
            let isShort = valueLength <= longestValue
            part.sent += keyLength + valueLength
            part.entries.append(
                RadosEntry(
                    key: Array(UnsafeRawBufferPointer(start: key, count: keyLength)),
                    value: value.flatMap { isShort ? Data(bytes: $0, count: valueLength) : nil } ?? Data()))
        }
    }
}
