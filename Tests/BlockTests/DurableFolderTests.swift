import Foundation
import TestSupport
import Testing

@testable import Block

@Suite("Durable folders")
struct DurableFolderTests {
    @Test(
        "Each new folder is made durable in its parent, from the top down; existing ones are not flushed"
    )
    func durable() throws {
        let scratch = Scratch()
        var synchronized: [String] = []
        try DurableFolder.make(scratch.file("a//b/c/")) { synchronized.append($0) }
        #expect(synchronized == [scratch.path, scratch.file("a"), scratch.file("a//b")])
        var isFolder: ObjCBool = false
        #expect(
            FileManager.default.fileExists(atPath: scratch.file("a/b/c"), isDirectory: &isFolder) && isFolder.boolValue)
        synchronized = []
        try DurableFolder.make(scratch.file("a/b/c")) { synchronized.append($0) }
        #expect(synchronized.isEmpty)
        try DurableFolder.make(scratch.file("a/d"))
        #expect(FileManager.default.fileExists(atPath: scratch.file("a/d")))
    }

    @Test("A file in the way, and a folder that can't be made durable, are errors")
    func errors() throws {
        let scratch = Scratch()
        _ = try scratch.write([], to: "file")
        #expect(throws: FileError.self) { try DurableFolder.make(scratch.file("file")) }
        #expect(throws: FileError.self) { try DurableFolder.make(scratch.file("file/below")) }
        #expect(throws: FileError.self) {
            try DurableFolder.make(scratch.file("new")) { throw FileError("flush", $0, code: EIO) }
        }
        #expect(throws: FileError.self) { try DurableFolder.make("") }
    }
}
