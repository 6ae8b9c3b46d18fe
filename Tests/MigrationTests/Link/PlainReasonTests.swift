import Foundation
import NIOCore
import Testing

@testable import Peer

/// Errors of libraries in the words of a user.
@Suite("Plain reasons")
struct PlainReasonTests {
    @Test("A system call of NIO's that fails -> the system's words, and no function's name")
    func systemCall() {
        let error = IOError(errnoCode: ECONNRESET, reason: "read(descriptor:pointer:size:)")
        #expect(error.plainReason == "Connection reset by peer")
        #expect(ChannelError.ioOnClosedChannel.plainReason == "the connection is closed")
        #expect(CancellationError().plainReason == "it was ended")
    }

    @Test("A file function of Foundation's that fails -> the path and the system's words")
    func file() {
        func reason(_ body: () throws -> Void) -> String {
            do { try body() } catch { return error.plainReason }
            return ""
        }
        let missing = reason { _ = try Data(contentsOf: URL(fileURLWithPath: "/nonexistent/file")) }
        #expect(missing == "/nonexistent/file: No such file or directory", "\(missing)")
        let attributes = reason { _ = try FileManager.default.attributesOfItem(atPath: "/nonexistent/file") }
        #expect(attributes.hasSuffix("No such file or directory"), "\(attributes)")
        let folder = reason {
            try FileManager.default.createDirectory(atPath: "/proc/none", withIntermediateDirectories: false)
        }
        #expect(!folder.contains("Domain") && !folder.contains("Code="), "\(folder)")
    }

    @Test("An error of this project -> its own words")
    func own() {
        #expect(PeerError.cut.plainReason == PeerError.cut.description)
    }
}
