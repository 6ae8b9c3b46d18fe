import TestSupport
import Testing

@testable import Rados

@Suite("Libraries that are loaded when they are needed")
struct SharedLibraryTests {
    private let scratch = Scratch()

    private func fault(_ name: String) -> String {
        do {
            _ = try SharedLibrary(name, package: "the-package")
            return "none"
        } catch { return "\(error)" }
    }

    @Test("A library that is missing, or is none -> an error with the reason, and the package")
    func reasons() throws {
        let missing = fault("libnearblock-none.so.1")
        #expect(missing.contains("No such file") && missing.hasSuffix("install the-package"), "\(missing)")
        let file = try scratch.write([1, 2, 3], to: "x.so")
        #expect(fault(file).contains("file too short"))
    }
}
