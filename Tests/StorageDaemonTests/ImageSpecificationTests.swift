import Foundation
import TestSupport
import Testing

@testable import StorageDaemon

@Suite struct ImageSpecificationTests {
    private func node(_ text: String, _ format: String? = nil, isReadOnly: Bool = false) throws -> [String: Any] {
        let text = try ImageSpecification(text, format: format).blockdev(
            name: "disk", isReadOnly: isReadOnly, isDirect: false, isShared: false)
        return try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test func aFileIsBelowItsFormatAndLocked() throws {
        let node = try node("/srv/a,b \"c\".qcow2", "qcow2")
        let file = try #require(node["file"] as? [String: Any])
        #expect(node["driver"] as? String == "qcow2" && node["discard"] as? String == "unmap")
        #expect(file["filename"] as? String == "/srv/a,b \"c\".qcow2" && file["locking"] as? String == "on")
        #expect(node["node-name"] as? String == "disk" && file["node-name"] == nil)
    }

    /// QEMU forgets that a flush has failed where io_uring carries it out (decision 0013).
    @Test func onlyPastThePageCacheAFileIsUsedThroughIOUring() throws {
        for isDirect in [false, true] {
            let text = try ImageSpecification("/srv/a.qcow2", format: "qcow2").blockdev(
                name: "disk", isReadOnly: false, isDirect: isDirect, isShared: false, usesRing: true)
            #expect(text.contains("io_uring") == isDirect)
        }
    }

    @Test func aCephImageHasItsParts() throws {
        let plain = try node("rbd:pool/image")
        #expect(plain["driver"] as? String == "rbd" && plain["pool"] as? String == "pool")
        let whole = try node("rbd:pool/space/image@then", isReadOnly: true)
        #expect(whole["namespace"] as? String == "space" && whole["image"] as? String == "image")
        #expect(whole["snapshot"] as? String == "then" && whole["read-only"] as? Bool == true)
        for text in ["rbd:", "rbd:pool", "rbd:pool/", "rbd:a/b/c/d", "rbd:pool/image@", "rbd:pool/image:conf=x"] {
            #expect(throws: StorageDaemonError.self) { try ImageSpecification(text, format: nil) }
        }
    }

    @Test("CEPH_ARGS names a user -> QEMU opens the image as that one; without the variable -> as QEMU does")
    func cephUser() throws {
        func user(_ arguments: String?, _ text: String = "rbd:pool/image") throws -> String? {
            let text = try ImageSpecification(text, format: nil).blockdev(
                name: "disk", isReadOnly: false, isDirect: false, isShared: false, cephArguments: arguments)
            let node = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
            return node?["user"] as? String
        }
        #expect(try user(nil) == nil)
        #expect(try user("--conf x --id site") == "site" && user("--name=client.b") == "b")
        #expect(try user("--keyring x") == "admin")
        #expect(try user("--id site", #"json:{"driver":"null-co"}"#) == nil && user("--id site", "/srv/a") == nil)
        #expect(throws: StorageDaemonError.self) { try user("--name osd.0") }
    }

    @Test func theUsersOptionsHoldExceptWhoMayWrite() throws {
        let node = try node(
            #"json:{"driver":"null-co","size":5,"read-only":false,"discard":"ignore"}"#, isReadOnly: true)
        #expect(node["size"] as? Int == 5 && node["discard"] as? String == "ignore")
        #expect(node["read-only"] as? Bool == true)
        for text in ["json:", "json:[]", "json:{}", #"json:{"driver":5}"#] {
            #expect(throws: StorageDaemonError.self) { try ImageSpecification(text, format: nil) }
        }
    }

    @Test func rawFilesNeedNoDaemon() {
        #expect(!ImageSpecification.isNeeded(for: "/srv/disk", format: nil))
        #expect(!ImageSpecification.isNeeded(for: "/srv/disk", format: "raw"))
        #expect(ImageSpecification.isNeeded(for: "/srv/disk", format: "vdi"))
        #expect(ImageSpecification.isNeeded(for: "rbd:a/b", format: nil))
    }

    @Test func aBackingFileIsFoundInTheHeader() async throws {
        let scratch = Scratch()
        let base = scratch.file("base.raw")
        _ = try scratch.hole(1 << 20, "base.raw")
        let made = try await Command.run(
            "qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "raw", scratch.file("top"))
        #expect(made.status == 0, "\(made)")
        #expect(QCOW2Header(path: scratch.file("top"))?.backingFile == base)
        let options = "data_file=\(scratch.file("data"))"
        _ = try await Command.run("qemu-img", "create", "-f", "qcow2", "-o", options, scratch.file("split"), "1M")
        #expect(QCOW2Header(path: scratch.file("split"))?.hasDataFile == true)
        #expect(QCOW2Header(path: scratch.file("split"))?.backingFile == nil)
        #expect(QCOW2Header(path: base) == nil)
        // The first bytes of any image may be a guest's.
        for start in [[UInt8]("QFI".utf8) + [0xfb], Array(repeating: 0xff, count: 104)] {
            #expect(
                QCOW2Header { offset, count in
                    let end = Int(clamping: offset) + count
                    return end <= start.count ? Array(start[Int(offset)..<end]) : nil
                } == nil)
        }
    }

    @Test(
        "A description for QEMU -> known to name an image of Ceph, at any depth",
        arguments: [
            (#"json:{"driver":"rbd","pool":"p","image":"i"}"#, true),
            (#"json:{"driver":"qcow2","file":{"driver":"raw","file":{"driver":"rbd","pool":"p","image":"i"}}}"#, true),
            (#"json:{"driver":"quorum","children":[{"driver":"file","filename":"a"},{"driver":"rbd"}]}"#, true),
            (#"json:{"driver":"raw","file":{"driver":"file","filename":"rbd:p/i"}}"#, true),
            (#"json:{"driver":"file","filename":"/images/rbd"}"#, false), ("rbd:p/i", false), ("/images/a", false),
        ])
    func ceph(text: String, hides: Bool) throws {
        #expect(try ImageSpecification(text, format: nil).hidesCeph == hides)
    }
}
