// Feeds the readers of table and catalogue files with libFuzzer's inputs.
//
// The first byte chooses: bit 0 a table or a catalogue, bit 1 whether the checksums and the length are mended, so that
// the damage gets deeper. The rest is the file. What must hold: it never crashes; what is accepted answers every look-up
// with entries within its own bounds; and a full check accepts nothing that a short one refuses.

import Foundation

@testable import Hashing
@testable import Index

private let folder: String = {
    var template = Array("/dev/shm/nearblock-fuzz-XXXXXX".utf8CString)
    return String(cString: mkdtemp(&template)!)
}()
private let longest: UInt64 = 1 << 20
private let blockSize = 512

private func check(_ holds: Bool, _ complaint: StaticString) {
    if !holds { fatalError("\(complaint)") }
}

private func digest(_ bytes: [UInt8], _ range: Range<UInt64>) -> [UInt8] {
    bytes[Int(range.lowerBound)..<Int(range.upperBound)].withUnsafeBytes { BlockHasher().digest($0) }
}

private func write(_ bytes: [UInt8], _ path: String) {
    let descriptor = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0o600)
    _ = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress!, $0.count) }
    close(descriptor)
}

private func mendTable(_ bytes: [UInt8]) -> [UInt8] {
    mend(bytes) {
        let header = try TableHeader(decoding: $0)
        return (header.fileSize, [(104, header.nameRange)])
    }
}

private func mendCatalogue(_ bytes: [UInt8]) -> [UInt8] {
    mend(bytes) {
        let header = try CatalogueHeader(decoding: $0)
        return (header.fileSize, [(64, header.tablesRange), (96, header.startsRange)])
    }
}

/// Gives a file the size and the digests that its header asks for; `layout` tells that size, and where in the header the
/// digest of which range stands.
private func mend(
    _ bytes: [UInt8], _ layout: ([UInt8]) throws -> (size: UInt64, digests: [(place: Int, range: Range<UInt64>)])
) -> [UInt8] {
    guard bytes.count >= 256 else { return bytes }
    var bytes = bytes
    bytes.seal(from: 224)
    guard let (size, digests) = try? layout(Array(bytes[..<256])), size <= longest else { return bytes }
    bytes += [UInt8](repeating: 7, count: max(0, Int(size) - bytes.count))
    bytes = Array(bytes.prefix(Int(size)))
    for (place, range) in digests { bytes.replaceSubrange(place..<place + 32, with: digest(bytes, range)) }
    bytes.seal(from: 224)
    return bytes
}

private func tryTable(_ bytes: [UInt8]) {
    // The file has the name that the table says it has, where it says one.
    var name = "/a.raw"
    if let header = try? TableHeader(decoding: Array(bytes.prefix(256))),
        header.nameRange.upperBound <= UInt64(bytes.count),
        let said = String(validating: bytes[256..<256 + header.nameLength], as: UTF8.self)
    {
        name = said
    }
    let path = "\(folder)/\(IndexFileName.file(forNeighbour: name))"
    write(bytes, path)
    defer { unlink(path) }
    let table = try? Table(path: path, blockSize: blockSize, check: .resident)
    let whole = try? Table(path: path, blockSize: blockSize, check: .everything)
    check(whole == nil || table != nil, "a full check accepts what a short one refuses")
    guard let table else { return }
    let matches = [0, 1, table.header.blockCount - 1, table.header.blockCount, .max].map {
        EntryMatch(place: 0, table: 0, block: $0)
    }
    EntryMatch.confirm(matches, in: [table], { $1 == Fingerprint(high: 1, low: 1) }) {
        check(matches[$0].block < table.header.blockCount, "a block outside the image")
    }
}

private func tryCatalogue(_ bytes: [UInt8]) {
    let path = "\(folder)/a.catalogue"
    write(bytes, path)
    defer { unlink(path) }
    let catalogue = try? Catalogue(path: path, blockSize: blockSize, check: .resident)
    let whole = try? Catalogue(path: path, blockSize: blockSize, check: .everything)
    check(whole == nil || catalogue != nil, "a full check accepts what a short one refuses")
    guard let catalogue else { return }
    let header = catalogue.header
    var highs: [UInt64] = [0, 1, 1 << 63, .max]
    for start in stride(from: 0, to: min(bytes.count - 8, 4096), by: 97) {
        highs.append(bytes.number(at: start, as: UInt64.self))
    }
    CatalogueSearch(catalogue).run(highs) { place, table, block in
        check(highs.indices.contains(place), "an answer to no question")
        check(table < 1 << header.tableBits && block < 1 << UInt64(header.blockBits), "an entry beyond its bits")
    }
}

/// One run of the fuzzer.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTable(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count >= 1, count <= longest else { return 0 }
    let choice = start[0]
    var bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    guard !bytes.isEmpty else { return 0 }
    if choice & 1 == 0 {
        if choice & 2 != 0 { bytes = mendTable(bytes) }
        tryTable(bytes)
    } else {
        if choice & 2 != 0 { bytes = mendCatalogue(bytes) }
        tryCatalogue(bytes)
    }
    return 0
}
