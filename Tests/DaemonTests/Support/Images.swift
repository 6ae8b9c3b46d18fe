import Foundation
import TestSupport

extension Scratch {
    func data(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: file(name))) }

    /// Creates a raw image with zeros in every third block and random data in the others.
    func makeImage(_ name: String, megabytes: Int) throws {
        var random = Seeded(.random(in: 0 ... .max))
        var contents = Data()
        for block in 0..<megabytes * 256 {
            contents.append(block % 3 == 0 ? Data(count: 4096) : Data(random.bytes(4096)))
        }
        try contents.write(to: URL(fileURLWithPath: file(name)))
    }
}
