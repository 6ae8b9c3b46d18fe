// Feeds what reads numbers of users, of configuration and state files, and of commands; linked with the package's Daemon and
// Configuration by nbd-scripts/fuzz.
//
// The first byte chooses the reader, the rest is the text. What must hold: nothing crashes; what is accepted lies within
// the bounds that its type promises, and the arithmetic that the program does on it does not trap; what is not is told of
// in a line; and a record that is read means the same when it has been written again.

import Foundation

@testable import Block
@testable import BlockModel
@testable import Configuration
@testable import Daemon
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol
@testable import Peer
@testable import PeerModel

private let folder: String = {
    var template = Array("/dev/shm/nearblock-fuzz-XXXXXX".utf8CString)
    return String(cString: mkdtemp(&template)!)
}()

private func check(_ holds: Bool, _ complaint: StaticString) {
    if !holds { fatalError("\(complaint)") }
}

/// What a parser makes of a text; nil where it says why not.
private func parse<Value>(_ text: String, _ parser: (String) throws -> Value) -> Value? {
    do { return try parser(text) } catch {
        check(!"\(error)".contains("\n") || text.contains("\n"), "an error of several lines")
        return nil
    }
}

private func tryValues(_ text: String) {
    if let rate = parse(text, { try BitRate($0) }) { use(rate: rate.bitsPerSecond) }
    if let size = parse(text, { try ByteCount($0) }) {
        check(size.bytes < .max, "a size without an end")
        use(size: size.bytes)
    }
    for span in [parse(text, { try TimeSpan($0) }), parse(text, { try TimeSpan.interval($0) })] {
        guard let span else { continue }
        check((0..<1e9).contains(span.seconds), "a time out of its range")
        check(
            ContinuousClock.now + .seconds(span.seconds) * 2 >= ContinuousClock.now - .seconds(60), "a time before now")
    }
    if let mode = parse(text, { try FileMode($0) }) { check(mode.bits <= 0o777, "more than permissions") }
    if let mode = parse(text, { try FileMode.ofImage($0) }) {
        check(mode.bits & 0o600 == 0o600, "a mode without its owner")
    }
    // A name is looked up, which is slow.
    if text.utf8.first.map({ (0x30...0x39).contains($0) }) ?? false {
        if let group = parse(text, { try GroupName($0) }) { check(group.number < .max, "no group") }
        _ = ServicePort.number(text)
    }
    if let address = PeerAddress(text) {
        check(!address.host.isEmpty, "no host")
        _ = (address.isWellFormed, address.isLoopback)
        check(PeerAddress(address.description) == address, "an address that is another one when it is read again")
    }
    check(!PlainText.line(text).unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7f }, "a line that is none")
    check(PlainText.line(text).utf8.count <= PlainText.longestLine + 3, "a long line")
}

private func use(rate: UInt64) {
    check((1..<UInt64.max).contains(rate), "a rate out of its range")
    use(anyRate: rate)
}

/// What the program does with a rate from elsewhere.
private func use(anyRate rate: UInt64) {
    _ = RateLimit(bitsPerSecond: rate)
    _ = CompressionPace(bitsPerSecond: rate).level
    _ = SendingSpeed().time(for: 1 << 62, limit: max(1, rate)) * 16 + .milliseconds(10)
    _ = Duration.seconds(Double(PeerConnection.maximumFrame) * 8 / Double(max(1, rate))) + .zero
}

private func use(size: UInt64) {
    guard let geometry = BlockGeometry(size: size, blockSize: 4096) else { return }
    check(geometry.byteCount(of: 0..<geometry.blockCount) == size, "a disk of another size")
    _ = ReadCounts.part(of: size)
}

private func checkOf(_ path: String) -> ConfigurationCheck {
    ConfigurationCheck(
        path: path, looksAtFiles: false, onto: NodeConfiguration(state: "/x", defaultControl: nil))
}

private func tryConfiguration(_ bytes: [UInt8], isForeign: Bool) {
    let path = "\(folder)/configuration"
    try? Data(bytes).write(to: URL(fileURLWithPath: path))
    var node = NodeConfiguration(state: "/x", defaultControl: nil)
    do {
        if isForeign {
            _ = try NBDServerConfiguration.read(path, into: &node)
        } else {
            try ConfigurationFile.read(path, into: &node)
        }
    } catch {
        check("\(error)".utf8.count > path.utf8.count, "an error without a word")
        if !isForeign { check(!checkOf(path).isUsable, "a file that serve refuses has no mistake") }
        return
    }
    if !isForeign { check(checkOf(path).node?.exports.count == node.exports.count, "another number of exports") }
    for export in node.exports {
        check(export.maximumConnections ?? 1 > 0, "no connection at all")
        check(export.size ?? 1 > 0, "no size at all")
        if let size = export.size { use(size: size) }
    }
    if let keepIndex = node.keepIndex { check(keepIndex > .zero && keepIndex < .seconds(1e9 + 1), "an interval") }
    try? node.checkEncryption()
    _ = node.fixedKeys(changedSince: node)
}

private func use(_ command: MigrateCommand) {
    guard (try? command.validate()) != nil else { return }
    check((1...IncomingDiskRegistry.maximumReceiving).contains(command.exports.count), "many disks")
    check(command.rate != 0, "a rate of nothing")
    if let rate = command.rate { use(anyRate: rate) }
    let pause = Duration.seconds(command.maximumPause ?? 0)
    check(max(.seconds(10), pause * 2) <= .seconds(7200), "a long pause")
    var machine = SourceMachine(
        size: 1 << 20, switchover: command.switchover, maximumRounds: command.maximumRounds ?? .max)
    guard (try? machine.receive(.welcome(Welcome(blockSize: 4096)))) != nil,
        (try? machine.receive(.accepted)) != nil
    else { return check(false, "a migration does not begin") }
    _ = machine.opened()
    _ = machine.met()
    guard machine.started() == .copyManifest else { return }
    _ = machine.copied()
    guard (try? machine.receive(.roundDone(1))) != nil else { return check(false, "a round does not end") }
    _ = machine.connected()
    for dirty in [0, 1 << 20, UInt64(1) << 62] {
        let next = machine.measured(
            SourceMachine.Situation(
                expectedPause: 1, maximumPause: command.maximumPause ?? 1, dirty: dirty, settled: dirty,
                threshold: command.dirtyThreshold ?? 0))
        guard case .copy(let round, _) = next else { return }
        _ = machine.copied()
        guard (try? machine.receive(.roundDone(UInt32(round)))) != nil else { return }
    }
}

private func tryCommand(_ bytes: [UInt8]) {
    guard let request = try? JSONDecoder().decode(ControlRequest.self, from: Data(bytes)) else { return }
    switch request {
    case .migrate(let command), .estimate(let command): use(command)
    case .rate(_, let rate): if let rate, rate > 0 { use(anyRate: rate) }
    default: break
    }
}

/// A record as it is read, and as it is when it has been written and read again.
private func read<Record: Codable>(_ type: Record.Type, _ bytes: [UInt8]) -> Record? {
    guard let record = try? JSONDecoder().decode(type, from: Data(bytes)) else { return nil }
    if let text = try? JSONEncoder().encode(record) {
        check((try? JSONDecoder().decode(type, from: text)) != nil, "a record that can't be read again")
    }
    return record
}

private func tryRecords(_ bytes: [UInt8]) {
    if let kept = read(SourceRecords.Kept<KeptMigration>.self, bytes) {
        use(kept.request.command)
        var count = kept.resumes ?? ResumeCount()
        for _ in 0..<ResumeCount.mostEarly { count.begin() }
        check(count.isTooMany, "ends that are never too many")
    }
    if let moved = read(MovedRecord.self, bytes), moved.isPossible {
        if let size = moved.size { use(size: size) }
        use(anyRate: moved.rate ?? 1)
        if let blockSize = moved.blockSize {
            _ = BlockGeometry(size: moved.size ?? 1, blockSize: blockSize)!.blockCount
        }
    }
    if let incoming = read(IncomingRecord.self, bytes) {
        if let blockSize = incoming.blockSize {
            _ = BlockGeometry(size: incoming.size, blockSize: blockSize)?.blockCount
        }
        var ledger = incoming.arrived ?? Ledger()
        ledger.add(incoming.arrived ?? Ledger())
        _ = (ledger.total, ledger.limited(to: incoming.size).total, incoming.known.count)
    }
    if let attempt = read(AttemptRecord.self, bytes) { _ = attempt.attempts.suffix(AttemptRecord.maximumCount) }
    if let head = try? JSONDecoder().decode(RecordHead.self, from: Data(bytes)), let image = head.image {
        _ = (image.identity?.key, image.identity?.description, image.legacyFile)
        _ = head.isAbout(image, isNamedAfterPath: true)
    }
    if let progress = read(MigrationProgress.self, bytes) { _ = MigrationProgress(of: [progress, progress]) }
}

/// One run of the fuzzer.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzValue(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count >= 1, count <= 1 << 16 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    switch start[0] % 5 {
    case 0: tryValues(String(decoding: bytes, as: UTF8.self))
    case 1: tryConfiguration(bytes, isForeign: false)
    case 2: tryConfiguration(bytes, isForeign: true)
    case 3: tryCommand(bytes)
    default: tryRecords(bytes)
    }
    return 0
}
