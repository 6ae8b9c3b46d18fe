import Block
import BlockModel
import Foundation
import Hashing
import Index
import MigrationCore
import MigrationProtocol
import NIOCore
import Peer

/// Remembers the places, on this node's disks, of blocks that came over a link in pre-copy, so that no other disk needs
/// to fetch them. Of ten similar machines, only the first brings the blocks that are new to the site.
///
/// Its size is bounded, and it is only advice: a block is read and hashed before it is used (invariant 4).
final class SharedBlocks: Sendable {
    /// A disk that takes part, from its arrival on.
    final class Member: Sendable {
        fileprivate let number: Int
        /// Its place among the disks that arrive at the hosts of a site.
        let order: ArrivalOrder
        private let shared: SharedBlocks

        fileprivate init(number: Int, order: ArrivalOrder, shared: SharedBlocks) {
            self.number = number
            self.order = order
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
        ///   - isUrgent: whether nothing is to be waited for any more. Call `recheck` when it becomes so.
        /// - Returns: false if the wait has come to its end before.
        /// - Throws: `PeerError.cut` if the connection does not stand; `CancellationError`.
        func waitWhileComing(
            _ prefixes: [UInt64], until end: ContinuousClock.Instant, isOpen: @escaping @Sendable () -> Bool,
            isUrgent: @escaping @Sendable () -> Bool = { false }
        ) async throws -> Bool {
            try await shared.waitWhileComing(
                prefixes, for: number, until: end, isOpen: isOpen, isUrgent: isUrgent)
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
        let order: ArrivalOrder
        var isArriving = true

        /// Whether it can give blocks to a disk of those domains.
        func shares(with domains: Set<String>, blockSize: Int) -> Bool {
            self.domains == domains && geometry.blockSize == blockSize
        }
    }

    private struct State {
        /// By their numbers, which are given in the order of arrival.
        var disks: [Int: Disk] = [:]
        var nextNumber = 0
        var lastTime: UInt64 = 0
        /// A disk's number above `blockBits`, its block below.
        var places = RepeatCache(blocks: mostBlocks)
        var promises = BlockPromises()

        func place(of prefix: UInt64, domains: Set<String>, blockSize: Int) -> Place? {
            guard let packed = places.block(with: prefix) else { return nil }
            let number = Int(packed >> blockBits)
            guard let disk = disks[number], disk.shares(with: domains, blockSize: blockSize) else {
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
        state.withLockedValue { state in
            state.disks = state.disks.filter { $0.value.isArriving || $0.value.image != nil }
            precondition(state.nextNumber < Self.mostDisks)
            // Within this host the order is that of the numbers, whatever the clock does.
            state.lastTime = max(Self.microseconds, state.lastTime + 1)
            let order = ArrivalOrder(time: state.lastTime, number: .random(in: 0 ... .max))
            state.disks[state.nextNumber] = Disk(image: image, geometry: geometry, domains: domains, order: order)
            state.promises.joined(state.nextNumber, domains: domains, at: .now)
            state.nextNumber += 1
            return Member(number: state.nextNumber - 1, order: order, shared: self)
        }
    }

    private static var microseconds: UInt64 { UInt64(max(0, Date().timeIntervalSince1970) * 1_000_000) }

    /// Whether blocks with these prefixes stand on a disk of those domains.
    func has(_ prefixes: [UInt64], domains: Set<String>, blockSize: Int) -> [Bool] {
        var has: [Bool] = []
        // Disks that arrive here use the lock, too.
        for start in stride(from: 0, to: prefixes.count, by: PromiseScan.most) {
            let part = prefixes[start..<min(start + PromiseScan.most, prefixes.count)]
            state.withLockedValue { state in
                for prefix in part {
                    has.append(state.place(of: prefix, domains: domains, blockSize: blockSize) != nil)
                }
            }
        }
        return has
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
        isOpen: @escaping @Sendable () -> Bool, isUrgent: @escaping @Sendable () -> Bool
    ) async throws -> Bool {
        var scan = PromiseScan(prefixes)
        while true {
            let now = ContinuousClock.now
            let step = state.withLockedValue { state in
                scan.next(in: state.promises, domains: state.disks[member]!.domains, at: now) { $0 < member }
            }
            if step == .over { return true }
            guard case .wait(let promise) = step else { continue }
            guard now < end, !isUrgent() else { return false }
            await state.wait(
                until: { !$0.promises.isOpen(promise) || !isOpen() || isUrgent() },
                atMost: now.duration(to: min(end, promise.end)))
            try Task.checkCancellation()
            guard isOpen() else { throw PeerError.cut }
        }
    }

    // MARK: Other hosts of the site

    /// Answers which blocks another host's disk can read here, after blocks that come soon for earlier disks have come.
    /// - Parameter isOpen: whether the other host still waits. Call `recheck` when it does not any more.
    func answer(_ question: ArrivalQuestion, isOpen: @escaping @Sendable () -> Bool) async -> ArrivalAnswer {
        let domains = Set(question.domains)
        let end = ContinuousClock.now + .milliseconds(Int(question.wait))
        var scan = PromiseScan(question.prefixes)
        var isLate = false
        while isOpen(), !Task.isCancelled {
            let now = ContinuousClock.now
            let step = state.withLockedValue { state in
                scan.next(in: state.promises, domains: domains, at: now) {
                    state.disks[$0].map { $0.order < question.order } ?? false
                }
            }
            if step == .over { break }
            guard case .wait(let promise) = step else { continue }
            isLate = now >= end
            if isLate { break }
            await state.wait(
                until: { !$0.promises.isOpen(promise) || !isOpen() }, atMost: now.duration(to: min(end, promise.end)))
        }
        let blockSize = Int(question.blockSize)
        return ArrivalAnswer(
            id: question.id,
            hasDisks: state.withLockedValue { state in
                state.disks.values.contains { $0.image != nil && $0.shares(with: domains, blockSize: blockSize) }
            }, isLate: isLate, has: has(question.prefixes, domains: domains, blockSize: blockSize))
    }

    /// Reads blocks for another host's disk, and hashes them. Blocks the thread.
    func read(_ request: ArrivalRead) -> ArrivalBytes {
        let (domains, blockSize, hasher) = (Set(request.domains), Int(request.blockSize), BlockHasher())
        var payload = ByteBuffer()
        let has = request.prefixes.map { prefix in
            let place = state.withLockedValue { $0.place(of: prefix, domains: domains, blockSize: blockSize) }
            guard let place, let image = image(of: place) else { return false }
            var isThere = false
            payload.writeWithUnsafeMutableBytes(minimumWritableBytes: blockSize) { room in
                let block = UnsafeMutableRawBufferPointer(rebasing: room[..<blockSize])
                isThere = image.fingerprint(of: place.block, place.geometry, hasher, into: block)?.high == prefix
                return isThere ? blockSize : 0
            }
            return isThere
        }
        return ArrivalBytes(id: request.id, has: has, payload: payload)
    }

    /// Lets disks that wait for others look at their connections.
    func recheck() { state.recheck() }
}
