import Testing

@testable import Migration
@testable import MigrationProtocol

@Suite("The line of a command that prepares")
struct TargetPlaceTests {
    @Test(
        "One line with a path -> the place",
        arguments: [
            ("/dev/vg/disk\n", "/dev/vg/disk"), ("/a b", "/a b"), ("format=raw /x=y z\n", "/x=y z"), ("/ü", "/ü"),
            ("/a=b c", "/a=b c"), ("format=qcow2 /a", "/a"), ("nbd+unix:///x?socket=/s\n", "nbd+unix:///x?socket=/s"),
            ("format=raw rbd:p/i", "rbd:p/i"),
        ])
    func places(output: String, path: String) throws {
        let place = try TargetPlace(output: Array(output.utf8))
        #expect(place.location == path)
        #expect(try TargetPlace(line: place.line) == place)
    }

    @Test(
        "Anything else -> refused",
        arguments: [
            "", "\n", "x", "/a\n\n", "/a\n/b\n", "/a\r\n", "/a\u{0}", "format=raw x", "format= /x", "=/x", " /x",
        ])
    func others(output: String) {
        #expect(throws: MigrationError.self) { try TargetPlace(output: Array(output.utf8)) }
    }

    @Test("Bytes that are no text -> refused")
    func bytes() {
        #expect(throws: MigrationError.self) { try TargetPlace(output: [0x2f, 0xff]) }
    }

    @Test("Output for people -> the last line that says something, without terminal commands, bounded")
    func lines() {
        #expect(PlainLine.last(of: Array("a\nb\u{1b}[1m\u{202e}c\n \n\n".utf8)) == "b[1mc")
        #expect(PlainLine.last(of: Array("\n \n".utf8)) == nil)
        #expect(PlainLine.last(of: [UInt8](repeating: 0x78, count: 5000))?.count == 303)
    }
}
