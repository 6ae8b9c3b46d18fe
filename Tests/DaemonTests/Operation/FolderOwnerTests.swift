import Foundation
import TestSupport
import Testing

@Suite("Root's commands in the folders of a service with its own user", .timeLimit(.minutes(10)))
struct FolderOwnerTests {
    private static let isRoot = geteuid() == 0
    private static let user = ["--reuid=65534", "--regid=65534", "--clear-groups"]

    private func owners(_ folder: String) throws -> Set<Int> {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
        return Set(
            try names.map { name in
                let facts = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")
                return facts[.ownerAccountID] as? Int ?? -1
            })
    }

    @Test(
        "root indexes images and declares records -> the files are the service's, and it can write them",
        .enabled(if: isRoot))
    func owned() async throws {
        let scratch = Scratch()
        chmod(scratch.path, 0o755)
        try scratch.makeImage("disk.raw", megabytes: 1)
        chmod(scratch.file("disk.raw"), 0o666)
        for folder in ["index", "state"] {
            try FileManager.default.createDirectory(atPath: scratch.file(folder), withIntermediateDirectories: false)
            chown(scratch.file(folder), 65534, 65534)
        }
        let add = ["index", "add", "--index", scratch.file("index"), scratch.file("disk.raw")]
        let added = try await Nearblock.run(add)
        #expect(added.status == 0, "\(added)")
        #expect(try owners(scratch.file("index")) == [65534])
        let again = try await Command.run("setpriv", Self.user + [Nearblock.path] + add)
        #expect(again.status == 0, "the service may do the same: \(again)")

        // An index that root makes in a folder of the service.
        let inner = scratch.file("state/index")
        let made = try await Nearblock.run(["index", "add", "--index", inner, scratch.file("disk.raw")])
        #expect(made.status == 0, "\(made)")
        #expect(try owners(inner) == [65534])

        // A node of root's in that folder, as an operator may try it once.
        let tried = try await Nearblock.run(
            [
                "serve", scratch.file("disk.raw"), "--state", scratch.file("state"), "--control", scratch.file("c"),
                "--run",
                "true",
            ])
        #expect(tried.status == 0, "\(tried)")
        #expect(try owners(scratch.file("state")) == [65534])
    }
}
