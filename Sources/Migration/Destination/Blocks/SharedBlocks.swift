import Block
import BlockModel
import Hashing
import Index
import MigrationCore
import Peer

/// Remembers the places, on this node's disks, of blocks that came over a link in pre-copy, so that no other disk needs
/// to fetch them. Of ten similar machines, only the first brings the blocks that are new to the site.
///
/// Its size is bounded, and it is only advice: a block is read and hashed before it is used (invariant 4).
final class SharedBlocks: Sendable {
    /// A disk that takes part, from its arrival on.
    final class Member: Sendable {
        fileprivate let number: Int
        private let shared: SharedBlocks

        fileprivate init(number: Int, shared: SharedBlocks) {
            self.number = number
            self.shared = shared
        }

        deinit { shared.leave(number) }

        /// The places of blocks with these prefixes on other disks of the same domains; nil for a block without one.
        func places(of prefixes: [UInt64]) -> [Place?] { shared.places(of: prefixes, for: number) }

        /// The image of the disk of a place; nil if it is gone.
        func image(of place: Place) -> (any DiskImage)? { shared.image(of: place) }

        /// Adds consecutive blocks, from `block` on, that have come over the link and are in the image.
        func add(_ fingerprints: [Fingerprint], from block: UInt64) { shared.add(fingerprints, block, number) }

        /// Adds promises: blocks with these prefixes have been asked for.
        func promise(_ prefixes: [UInt64]) { shared.promise(prefixes, by: number) }

        /// Removes promises: the blocks that have not come will not come soon.
        func withdrawPromises() { shared.withdrawPromises(of: number) }

        /// Waits while `BlockPromises` says that blocks with these prefixes may come soon for another disk.
        /// - Parameters:
        ///   - end: of the longest wait.
        ///   - isOpen: whether the connection that brings the disk stands. Call `recheck` when it does not any more.
        /// - Returns: false if the wait has come to its end before.
        /// - Throws: `PeerError.cut` if the connection does not stand; `CancellationError`.
        func waitWhileComing(
            _ prefixes: [UInt64], until end: ContinuousClock.Instant, isOpen: @escaping @Sendable () -> Bool
        ) async throws -> Bool {
            try await shared.waitWhileComing(prefixes, for: number, until: end, isOpen: isOpen)
        }
    }

    /// A block of a disk.
    struct Place: Equatable {
        fileprivate let disk: Int
        let geometry: BlockGeometry
        let block: UInt64
    }

    private struct Disk {
        weak var image: (any DiskImage)?
        let geometry: BlockGeometry
        let domains: Set<String>
        var isArriving = true
    }

    private struct State {
        /// By their numbers, which are given in the order of arrival.
        var disks: [Int: Disk] = [:]
        var nextNumber = 0
        /// A disk's number above `blockBits`, its block below.
        var places = RepeatCache(blocks: mostBlocks)
        var promises = BlockPromises()

        func place(of prefix: UInt64, domains: Set<String>, blockSize: Int) -> Place? {
            guard let packed = places.block(with: prefix) else { return nil }
            let number = Int(packed >> blockBits)
            guard let disk = disks[number], disk.domains == domains, disk.geometry.blockSize == blockSize else {
                return nil
            }
            return Place(disk: number, geometry: disk.geometry, block: packed & (1 << blockBits - 1))
        }
    }

    private static let mostBlocks: UInt64 = 1 << 20
    /// Bits of a block's number: `DestinationMachine` bounds the blocks of a disk. The bits above suffice for the disks'
    /// numbers.
    private static let blockBits: UInt64 = 32
    private static let mostDisks = 1 << 31

    private let state = WatchedValue(State())

    /// A disk begins to arrive.
    /// - Parameter domains: those that it may draw on; it shares with disks of the same.
    func join(_ image: any DiskImage, _ geometry: BlockGeometry, domains: Set<String>) -> Member {
        let number = state.withLockedValue { state in
            state.disks = state.disks.filter { $0.value.isArriving || $0.value.image != nil }
            precondition(state.nextNumber < Self.mostDisks)
            state.disks[state.nextNumber] = Disk(image: image, geometry: geometry, domains: domains)
            state.promises.joined(state.nextNumber, domains: domains, at: .now)
            state.nextNumber += 1
            return state.nextNumber - 1
        }
        return Member(number: number, shared: self)
    }

    /// Whether blocks with these prefixes stand on a disk of those domains.
    func has(_ prefixes: [UInt64], domains: Set<String>, blockSize: Int) -> [Bool] {
        state.withLockedValue { state in
            prefixes.map { state.place(of: $0, domains: domains, blockSize: blockSize) != nil }
        }
    }

    private func places(of prefixes: [UInt64], for member: Int) -> [Place?] {
        state.withLockedValue { state in
            let disk = state.disks[member]!
            return prefixes.map {
                let place = state.place(of: $0, domains: disk.domains, blockSize: disk.geometry.blockSize)
                return place?.disk == member ? nil : place
            }
        }
    }

    private func image(of place: Place) -> (any DiskImage)? {
        state.withLockedValue { $0.disks[place.disk]?.image }
    }

    private func add(_ fingerprints: [Fingerprint], _ first: UInt64, _ member: Int) {
        state.withLockedValue { state in
            for (offset, fingerprint) in fingerprints.enumerated() {
                state.places.note(fingerprint.high, at: UInt64(member) << Self.blockBits | (first + UInt64(offset)))
            }
            state.promises.came(fingerprints, for: member, at: .now)
        }
    }

    private func promise(_ prefixes: [UInt64], by member: Int) {
        state.withLockedValue { $0.promises.promise(prefixes, by: member, at: .now) }
    }

    private func withdrawPromises(of member: Int) {
        state.withLockedValue { $0.promises.withdraw(member) }
    }

    private func leave(_ member: Int) {
        state.withLockedValue { state in
            state.promises.left(member)
            state.disks[member]?.isArriving = false
        }
    }

    private func waitWhileComing(
        _ prefixes: [UInt64], for member: Int, until end: ContinuousClock.Instant,
        isOpen: @escaping @Sendable () -> Bool
    ) async throws -> Bool {
        while true {
            let now = ContinuousClock.now
            guard let promise = state.withLockedValue({ $0.promises.awaited(prefixes, by: member, at: now) }) else {
                return true
            }
            guard now < end else { return false }
            await state.wait(
                until: { !$0.promises.isOpen(promise) || !isOpen() }, atMost: now.duration(to: min(end, promise.end)))
            try Task.checkCancellation()
            guard isOpen() else { throw PeerError.cut }
        }
    }

    /// Lets disks that wait for others look at their connections.
    func recheck() { state.recheck() }
}
