import Glibc
import TestSupport

/// The two hypervisors of one attempt to move a guest's memory: all that one writes must come to the other, and nothing
/// else.
final class SimHypervisors {
    /// Bytes that the source's hypervisor leaves in its socket before it waits.
    private static let socketBytes = 40_000

    private unowned let memory: SimMemory
    private let world: World
    /// The bytes that the source's hypervisor has written.
    private(set) var written: [UInt8] = []
    /// Bytes of them that the relay has taken.
    private var taken = 0
    /// The time that it needs for some pieces, microseconds.
    private let pace: UInt64
    /// Pieces that are still to be written.
    private var left: Int
    private(set) var hasEnded = false
    /// The bytes that the destination's hypervisor has got.
    private(set) var received: [UInt8] = []
    /// Whether it has been told that no more come.
    private var isOver = false
    private var isGone = false

    private var writtenBack: [UInt8] = []
    private var takenBack = 0
    private(set) var hasEndedBack = false
    private var receivedBack: [UInt8] = []

    init(_ memory: SimMemory) {
        self.memory = memory
        world = memory.world
        left = Int.random(in: 5...250, using: &world.random)
        pace = [600, 3000, 15_000].randomElement(using: &world.random)!
        world.watch(self)
    }

    func letGo() { isGone = true }

    // MARK: The source's

    func run() {
        world.soon(pace) { [self] in
            guard !isGone else { return }
            if written.count - taken < Self.socketBytes { write() }
            if !hasEnded { run() }
        }
    }

    private func write() {
        for _ in 0..<Int.random(in: 1...6, using: &world.random) where left > 0 {
            written += memory.piece()
            left -= 1
        }
        if left == 0 { hasEnded = true }
    }

    /// Takes bytes out of the source's socket.
    func take(most: Int) -> ArraySlice<UInt8> {
        // A socket gives less than there is now and then.
        let there = min(most, written.count - taken)
        let count = world.chance(70) ? there : Int.random(in: 0...there, using: &world.random)
        defer { taken += count }
        return written[taken..<taken + count]
    }

    /// Whether nothing follows the bytes that were taken.
    var isAtEnd: Bool { hasEnded && taken == written.count }

    func receiveBack(_ bytes: [UInt8]) {
        receivedBack += bytes
        world.check(
            writtenBack.starts(with: receivedBack), "the source's hypervisor gets other bytes than were written")
    }

    func endBack() {
        world.check(hasEndedBack && receivedBack == writtenBack, "the source's hypervisor does not get everything")
    }

    /// The relay says that the destination's hypervisor has everything.
    func checkIsWhole() {
        world.check(hasEnded && isOver && received.count == written.count, "memory that is called whole is not")
    }

    // MARK: The destination's

    func receive(_ bytes: [UInt8]) {
        world.check(!isOver, "bytes come behind the end of the memory")
        let isRight =
            received.count + bytes.count <= written.count
            && bytes.withUnsafeBytes { bytes in
                written.withUnsafeBytes {
                    memcmp(bytes.baseAddress!, $0.baseAddress! + received.count, bytes.count) == 0
                }
            }
        world.check(isRight, "the destination's hypervisor gets other bytes than were written")
        received += bytes
        if world.chance(20) { writeBack() }
    }

    func end() {
        isOver = true
        checkIsWhole()
        world.soon(5000) { [self] in
            guard !isGone else { return }
            writeBack()
            hasEndedBack = true
        }
    }

    private func writeBack() { writtenBack += world.random.bytes(.random(in: 1...20, using: &world.random)) }

    /// Takes bytes out of the destination's socket.
    func takeBack() -> [UInt8] {
        defer { takenBack = writtenBack.count }
        return Array(writtenBack[takenBack...])
    }

    /// Whether nothing follows the bytes that were taken.
    var isAtEndBack: Bool { hasEndedBack && takenBack == writtenBack.count }
}
