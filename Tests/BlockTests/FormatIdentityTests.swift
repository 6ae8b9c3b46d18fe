import TestSupport
import Testing

@testable import Block

@Suite struct FormatIdentityTests {
    private let scratch = Scratch()

    @Test("One file as raw and as qcow2 -> not the same image, and known to be one file")
    func formats() throws {
        let path = try scratch.hole(4096, "disk")
        let raw = try #require(try RawImage(path: path, access: .readOnly).identity())
        let qcow2 = try #require(try FormattedFile(path: path, format: "qcow2").identity(size: 1 << 30))
        let again = try #require(try FormattedFile(path: path, format: "qcow2").identity(size: 2 << 30))
        #expect(!raw.isSame(as: qcow2) && raw.sharesFile(with: qcow2) && qcow2.sharesFile(with: raw))
        #expect(qcow2.isSame(as: again) && !qcow2.sharesFile(with: again))
        #expect(qcow2.key != raw.key && qcow2.key == again.key)
    }
}
