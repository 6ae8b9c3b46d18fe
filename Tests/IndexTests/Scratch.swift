import Glibc
import TestSupport
import Testing

@testable import Hashing
@testable import Index

/// A temporary directory for one test, deleted with it.
final class Scratch {
    let path: String
    let index: String

    init() {
        var template = Array("/tmp/nearblock-index-XXXXXX".utf8CString)
        path = String(cString: realpath(mkdtemp(&template)!, nil))
        index = path + "/index"
    }

    deinit {
        for folder in [index, path] {
            for file in (try? IndexDirectory(path: folder).files()) ?? [] { unlink("\(folder)/\(file)") }
            rmdir(folder)
        }
    }

    /// Writes an image of `size` bytes. Aligned runs of at least 4096 zeros become holes.
    @discardableResult
    func image(_ name: String, _ bytes: [UInt8]) -> String {
        let file = "\(path)/\(name)"
        write(bytes, to: file, flags: O_CREAT | O_TRUNC, sparse: true)
        return file
    }

    func overwrite(_ file: String, _ bytes: [UInt8], at offset: Int = 0) {
        write(bytes, to: file, flags: 0, at: offset)
    }

    /// Changes one byte to another value.
    func damage(_ file: String, at offset: Int) {
        overwrite(file, [~contents(file)[offset]], at: offset)
    }

    func contents(_ file: String) -> [UInt8] {
        let descriptor = open(file, O_RDONLY)
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: Int(lseek(descriptor, 0, SEEK_END)))
        let count = bytes.count
        precondition(pread(descriptor, &bytes, count, 0) == count)
        return bytes
    }

    private func write(
        _ bytes: [UInt8], to file: String, flags: CInt, sparse: Bool = false, at offset: Int = 0
    ) {
        let descriptor = open(file, O_WRONLY | flags, 0o600)
        precondition(descriptor >= 0)
        defer { close(descriptor) }
        if sparse { ftruncate(descriptor, off_t(bytes.count)) }
        for start in stride(from: 0, to: bytes.count, by: 4096) {
            let piece = Array(bytes[start..<min(start + 4096, bytes.count)])
            if sparse && piece.count == 4096 && piece.allSatisfy({ $0 == 0 }) { continue }
            precondition(pwrite(descriptor, piece, piece.count, off_t(offset + start)) == piece.count)
        }
    }
}

/// Computes an image's blocks in the simplest way.
struct NaiveImage {
    let fingerprints: [Fingerprint]

    init(_ bytes: [UInt8], block: Int) {
        let hasher = BlockHasher()
        fingerprints = stride(from: 0, to: bytes.count, by: block).map { start in
            var piece = Array(bytes[start..<min(start + block, bytes.count)])
            piece += [UInt8](repeating: 0, count: block - piece.count)
            return piece.withUnsafeBytes { hasher.fingerprint($0) }
        }
    }

    var nonZero: [Fingerprint] { fingerprints.filter { $0 != .zero } }
}

/// Generates data with holes, written zeros, repetitions and a short last block.
func mixedImage(_ random: inout Seeded, block: Int, blocks: Int, tail: Int, pool: [[UInt8]] = []) -> [UInt8] {
    var bytes: [UInt8] = []
    var earlier = pool
    while bytes.count < block * blocks {
        switch Int.random(in: 0..<10, using: &random) {
        case 0: bytes += [UInt8](repeating: 0, count: block * Int.random(in: 1...40, using: &random))
        case 1...4 where !earlier.isEmpty: bytes += earlier.randomElement(using: &random)!
        default:
            earlier.append(random.bytes(block))
            bytes += earlier.last!
        }
    }
    return bytes.prefix(block * blocks) + random.bytes(tail)
}

extension NeighbourIndex {
    /// Fetches a candidate; returns whether its bytes are the right ones.
    func isGood(_ candidate: Candidate?, _ fingerprint: Fingerprint) -> Bool {
        guard let candidate else { return false }
        var block = [UInt8](repeating: 0xaa, count: blockSize)
        let hasher = BlockHasher()
        let fetched = block.withUnsafeMutableBytes {
            fetch(candidate, expecting: fingerprint, into: $0, hasher: hasher)
        }
        if fetched { #expect(block.withUnsafeBytes { hasher.fingerprint($0) } == fingerprint) }
        return fetched
    }
}

extension IndexStore {
    func add(
        _ image: String, threads: Int, progress: (@Sendable (BuildProgress) -> Void)? = nil
    ) throws -> TableSummary {
        try add(image, options: BuildOptions(threads: threads), progress: progress)
    }

    func refresh(_ image: String, threads: Int) throws -> TableSummary? {
        try refresh(image, options: BuildOptions(threads: threads))
    }

    /// The index's only catalogue.
    var catalogueFile: String {
        get throws {
            let files = try IndexDirectory(path: directory).files()
            return directory + "/" + files.first { $0.hasSuffix(IndexFileName.catalogueSuffix) }!
        }
    }
}
