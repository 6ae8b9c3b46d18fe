import Foundation
import TestSupport
import Testing

@testable import Rados

/// How an object's entries are read part by part.
@Suite("Listings of entries in RADOS")
struct RadosListingTests {
    /// The keys of an object; answers as an OSD and librados do, which take a key up to its first zero.
    private struct Object {
        var keys: [[UInt8]]
        var value = Data()
        var requests = 0

        mutating func read(after key: [UInt8]) throws(RadosError) -> RadosListing.Part {
            requests += 1
            // Nobody asks so often for so few keys.
            guard requests < 1000 else { throw RadosError("list", reason: "endless") }
            let text = Array(key.prefix { $0 != 0 })
            let found = keys.sorted { $0.lexicographicallyPrecedes($1) }.filter { text.lexicographicallyPrecedes($0) }
            let entries = found.prefix(4).map { RadosEntry(key: $0, value: value) }
            return RadosListing.Part(
                entries: entries, sent: entries.count * value.count, hasMore: found.count > entries.count)
        }
    }

    private func list(
        _ object: inout Object, _ limits: RadosListing.Limits = RadosListing.Limits()
    ) throws -> RadosListing {
        try #require(try RadosListing(limits) { key throws(RadosError) in try object.read(after: key) })
    }

    @Test("Keys of random bytes -> the listing ends, is in order, and has every sound key")
    func random() throws {
        var random = Seeded.fresh()
        for _ in 0..<200 {
            let count = Int.random(in: 0...40, using: &random)
            // Few different bytes, so that keys share what stands before a zero.
            let keys = Set(
                (0..<count).map { _ in
                    (0..<Int.random(in: 1...4, using: &random)).map { _ in
                        [0, 1, 0x30, 0x31, 0x80, 0xff].randomElement(using: &random)!
                    } as [UInt8]
                })
            var object = Object(keys: Array(keys))
            let listing = try list(&object)
            let sound = keys.filter { RadosEntry(key: $0, value: Data()).name != nil }
            let listed = listing.entries.map(\.key)
            #expect(listing.isWhole && Set(listed).isSuperset(of: sound) && keys.isSuperset(of: listed))
            #expect(zip(listed, listed.dropFirst()).allSatisfy { $0.lexicographicallyPrecedes($1) })
            // Listings whose entries are removed, again and again, come to the end of all.
            var passes = 0
            while !object.keys.isEmpty, passes < 100 {
                let gone = Set(try list(&object).entries.map(\.key))
                #expect(!gone.isEmpty)
                object.keys.removeAll { gone.contains($0) }
                passes += 1
            }
            #expect(object.keys.isEmpty)
        }
    }

    @Test("Names of keys -> only of text without control characters")
    func names() {
        func name(_ key: [UInt8]) -> String? { RadosEntry(key: key, value: Data()).name }
        #expect(name(Array("ab.table".utf8)) == "ab.table" && name(Array("ä".utf8)) == "ä")
        for key: [UInt8] in [[], [0], [0x61, 0], [0x61, 0, 0x62], [0x61, 1], [0xff], [0xc3], [0x61, 0x80]] {
            #expect(name(key) == nil, "\(key)")
        }
    }

    @Test("More than a limit -> not whole")
    func limits() throws {
        var object = Object(keys: (0..<100).map { [0x30 + $0] }, value: Data(count: 1000))
        #expect(try list(&object).isWhole)
        for limits in [
            RadosListing.Limits(entries: 10), RadosListing.Limits(bytes: 10_000), RadosListing.Limits(sent: 10_000),
        ] {
            let listing = try list(&object, limits)
            #expect(listing.entries.count == 12 && !listing.isWhole)
        }
    }

    @Test("A cluster that says the same again -> the listing ends, and is not whole")
    func repeated() throws {
        var requests = 0
        let listing = try RadosListing(RadosListing.Limits()) { _ in
            requests += 1
            return RadosListing.Part(entries: [RadosEntry(key: [0x61], value: Data())], hasMore: true)
        }
        #expect(requests == 2 && listing?.isWhole == false)
        let empty = try RadosListing(RadosListing.Limits()) { _ in RadosListing.Part(hasMore: true) }
        #expect(empty?.isWhole == false && empty?.entries.isEmpty == true)
    }
}
