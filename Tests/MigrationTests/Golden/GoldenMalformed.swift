import Testing

/// A frame that is no message.
struct GoldenMalformed: Sendable, CustomTestStringConvertible {
    let name: String
    let hex: String

    init(_ name: String, _ hex: String) {
        self.name = name
        self.hex = hex
    }

    var testDescription: String { name }

    private static let id = "0123456789abcdeffedcba9876543210"
    private static let support = "0003 0003 00000000000001ff"
    private static let hello = "01 6e656172626c6b32"

    static let all: [GoldenMalformed] = [
        GoldenMalformed("type 0", "00"),
        GoldenMalformed("a type between groups", "29"),
        GoldenMalformed("a type beyond the last", "41"),
        GoldenMalformed("hello of an earlier protocol", "01 6e656172626c6b31 \(support) 01 \(id) 00 0000"),
        GoldenMalformed(
            "hello, highest version below the lowest", "\(hello) 0004 0003 0000000000000000 01 \(id) 00 0000"),
        GoldenMalformed(
            "hello, an export of 201 bytes",
            "\(hello) \(support) 01 \(id) 00 00c9" + String(repeating: "61", count: 201)),
        GoldenMalformed("hello, an export that is no UTF-8", "\(hello) \(support) 01 \(id) 00 0001 ff"),
        GoldenMalformed("welcome without a boot", "02 \(support) 00001000"),
        GoldenMalformed("refused with a text of 4097 bytes", "03 1001" + String(repeating: "61", count: 4097)),
        GoldenMalformed("offer with half of its details", "10 \(id) 00 0000000000000001 00000200 0001 64 00 00 00"),
        GoldenMalformed(
            "offer with more than its details",
            "10 \(id) 00 0000000000000001 00000200 0001 64 00 00 0000000000000000 0000000000000000 00"),
        GoldenMalformed(
            "offer with a domain of 256 bytes",
            "10 \(id) 00 0000000000000001 00000200 0001 64 01 0100" + String(repeating: "61", count: 256)),
        GoldenMalformed("manifest of nothing", "11 0000000000000000 00000000"),
        GoldenMalformed("manifest with code 3", "11 0000000000000000 00000001 03"),
        GoldenMalformed(
            "manifest of 4097 blocks", "11 0000000000000000 00001001" + String(repeating: "00", count: 1025)),
        GoldenMalformed("data with fewer runs than it counts", "13 00000001 0000000000000000 000000"),
        GoldenMalformed("a byte behind a commit", "16 00"),
        GoldenMalformed("summary of nothing", "19 0000000000000000 00000000"),
        GoldenMalformed("summary of 33 blocks with one group", "19 0000000000000000 00000021 \(id)"),
        GoldenMalformed("a dirty bitmap without a name", "1a 0000 00 00000000"),
        GoldenMalformed("a dirty bitmap with a map 2", "1a 0001 61 02 00000000"),
        GoldenMalformed("a dirty bitmap with fewer runs than it counts", "1a 0001 61 00 00000001 0000000000000000"),
        GoldenMalformed("a dirty bitmap of 32769 runs", "1a 0001 61 00 00008001" + String(repeating: id, count: 32769)),
        GoldenMalformed("question for a prefix of nothing", "1b 00 00000000"),
        GoldenMalformed("question for a prefix of kind 2", "1b 02 00000001 0000000000000002"),
        GoldenMalformed("question for a prefix with less than it counts", "1b 00 00000002 0000000000000002"),
        GoldenMalformed(
            "question for a prefix of 32769 blocks",
            "1b 01 00008001" + String(repeating: "0000000000000001", count: 32769)),
        GoldenMalformed("answer about 32769 blocks", "29 00008001" + String(repeating: "00", count: 4097) + id),
        GoldenMalformed(
            "differences of 129 groups",
            "28 0000000000000000 00000081 0000000000000000" + String(repeating: "00", count: 17)),
        GoldenMalformed("request of kind 7", "30 0000000000000005 07 00 0000000000000000 0000000000000000"),
        GoldenMalformed("introduction of nobody", "32 0000"),
        GoldenMalformed("introduction of 257", "32 0101" + String(repeating: id, count: 257)),
        GoldenMalformed("successor at port 0", "34 0000 00 0001 62"),
        GoldenMalformed("successor with a space in its host", "34 0007 00 0001 20"),
        GoldenMalformed("successor without a host", "34 0007 00 0000"),
        GoldenMalformed("post-copy without a second type", "40"),
        GoldenMalformed("post-copy of an unknown second type", "40 06"),
        GoldenMalformed("a switchover of code 4", "40 01 04"),
        GoldenMalformed("32769 runs", "40 11 00008001" + String(repeating: id, count: 32769)),
        GoldenMalformed("description of nothing", "40 23 0000000000000000 00000000"),
        GoldenMalformed(
            "description of 4097 blocks",
            "40 23 0000000000000000 00001001" + String(repeating: "00", count: 513)),
        GoldenMalformed("memory without a second type", "50"),
        GoldenMalformed(
            "probed with a release of 65 bytes",
            "61 0000000000000102 0000000000000003 0041" + String(repeating: "61", count: 65)),
        GoldenMalformed("probed with a byte too many", "61 0000000000000102 0000000000000003 0001 3031"),
        GoldenMalformed("memory of an unknown second type", "50 05"),
        GoldenMalformed("offer of memory with 33 disks", "50 01 21" + String(repeating: "01 0001 61", count: 33)),
        GoldenMalformed("offer of memory with a disk of kind 2", "50 01 01 02 \(id)"),
        GoldenMalformed(
            "offer of memory with an export of 201 bytes", "50 01 01 01 00c9" + String(repeating: "61", count: 201)),
        GoldenMalformed("batch of memory without tokens", "50 02 00000000 00000001 \(id) 07"),
        GoldenMalformed("batch of memory with a byte too many", "50 02 00000001 00110000 \(id) 07"),
        GoldenMalformed("batch of memory of 4 GiB and more", "50 02 ffffffff ffffffff \(id) 07"),
        GoldenMalformed("memory accepted of 33 disks", "50 10 00000000 21 0000000000"),
        GoldenMalformed("back of memory of 65537 bytes", "50 13" + String(repeating: "61", count: 65537)),
    ]
}
