import Block
import Index
import NIOConcurrencyHelpers

/// Where on this node's disks blocks stand that came over a link, so that they need not come again for another disk:
/// of ten similar machines, the first brings what is new to the site.
///
/// Of bounded size, and only advice: a block is read and hashed before it is used (invariant 4).
final class SharedBlocks: Sendable {
    /// A disk that takes part, from its arrival on.
    final class Member: Sendable {
        fileprivate let number: Int
        private let shared: SharedBlocks

        fileprivate init(number: Int, shared: SharedBlocks) {
            self.number = number
            self.shared = shared
        }

        deinit { shared.withdrawPromises(of: number) }

        /// Where blocks with these prefixes stand on other disks of the same domains.
        func places(of prefixes: [UInt64]) -> [Place?] { shared.places(of: prefixes, for: number) }

        /// Consecutive blocks, from `block` on, have come over the link and are in the image.
        func note(_ fingerprints: [Fingerprint], from block: UInt64) { shared.note(fingerprints, block, number) }

        /// Blocks with these prefixes have been asked for.
        func promise(_ prefixes: [UInt64]) { shared.promise(prefixes, by: number) }

        /// What was asked for and has not come will not come soon.
        func withdrawPromises() { shared.withdrawPromises(of: number) }

        /// Whether a disk that began to arrive earlier has asked for such a block. Only an earlier one: otherwise two could
        /// wait for each other.
        func mayComeSoon(_ prefixes: [UInt64]) -> Bool { shared.arePromised(prefixes, before: number) }
    }

    /// A block of a disk.
    struct Place {
        let image: RawImage
        let geometry: BlockGeometry
        let block: UInt64
    }

    private struct Disk {
        weak var image: RawImage?
        let geometry: BlockGeometry
        let domains: Set<String>
    }

    private struct State {
        var disks: [Disk] = []
        /// A disk's number above `blockBits`, its block below.
        var places = RepeatCache(blocks: mostBlocks)
        var promised: [UInt64: Int] = [:]

        func place(of prefix: UInt64, domains: Set<String>) -> (disk: Int, place: Place)? {
            guard let packed = places.block(with: prefix) else { return nil }
            let number = Int(packed >> blockBits)
            guard let image = disks[number].image, disks[number].domains == domains else { return nil }
            let block = packed & (1 << blockBits - 1)
            return (number, Place(image: image, geometry: disks[number].geometry, block: block))
        }
    }

    private static let mostBlocks: UInt64 = 1 << 20
    private static let blockBits: UInt64 = 40

    private let state = NIOLockedValueBox(State())

    /// A disk begins to arrive.
    /// - Parameter domains: those that it may draw on; it shares with disks of the same.
    func join(_ image: RawImage, _ geometry: BlockGeometry, domains: Set<String>) -> Member {
        let number = state.withLockedValue { state in
            state.disks.append(Disk(image: image, geometry: geometry, domains: domains))
            return state.disks.count - 1
        }
        return Member(number: number, shared: self)
    }

    /// Whether blocks with these prefixes stand on a disk of those domains.
    func has(_ prefixes: [UInt64], domains: Set<String>) -> [Bool] {
        state.withLockedValue { state in prefixes.map { state.place(of: $0, domains: domains) != nil } }
    }

    private func places(of prefixes: [UInt64], for member: Int) -> [Place?] {
        state.withLockedValue { state in
            let disk = state.disks[member]
            return prefixes.map { prefix in
                state.place(of: prefix, domains: disk.domains).flatMap { number, place in
                    number == member || place.geometry.blockSize != disk.geometry.blockSize ? nil : place
                }
            }
        }
    }

    private func note(_ fingerprints: [Fingerprint], _ first: UInt64, _ member: Int) {
        state.withLockedValue { state in
            for (offset, fingerprint) in fingerprints.enumerated() {
                state.places.note(fingerprint.high, at: UInt64(member) << Self.blockBits | (first + UInt64(offset)))
                state.promised[fingerprint.high] = nil
            }
        }
    }

    private func promise(_ prefixes: [UInt64], by member: Int) {
        state.withLockedValue { state in
            for prefix in prefixes where state.promised[prefix] == nil { state.promised[prefix] = member }
        }
    }

    private func withdrawPromises(of member: Int) {
        state.withLockedValue { state in
            if !state.promised.isEmpty { state.promised = state.promised.filter { $0.value != member } }
        }
    }

    private func arePromised(_ prefixes: [UInt64], before member: Int) -> Bool {
        state.withLockedValue { state in
            guard !state.promised.isEmpty else { return false }
            return prefixes.contains { prefix in
                guard let other = state.promised[prefix] else { return false }
                return other < member && state.disks[other].domains == state.disks[member].domains
            }
        }
    }
}
