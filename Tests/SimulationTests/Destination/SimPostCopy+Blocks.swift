import Glibc
import Hashing

@testable import BlockModel
@testable import MigrationCore
@testable import MigrationProtocol

/// Blocks that are found here or come from the source, and their way into the image.
extension SimPostCopy {
    private enum Bytes {
        case inImage(Fingerprint)
        case values([UInt32])
    }

    // MARK: Messages

    /// Fills the block of a message.
    func store(_ received: PostCopyMachine.Received, _ done: @escaping () -> Void) {
        let block = received.runs[0].lowerBound
        world.check(received.runs == [block..<block + 1], "the source has sent \(received.runs) at once")
        var bytes = received.data?.compressed
        let values = disk.sectors(of: block..<block + 1).map { _ in bytes?.readInteger(as: UInt32.self)! ?? 0 }
        fill(block, .values(values), from: received.data == nil ? .zero : .link, done)
    }

    // MARK: Searches

    func find(_ search: PostCopyMachine.Search) { find(search, search.parts[...]) }

    private func find(_ search: PostCopyMachine.Search, _ parts: ArraySlice<[Range<UInt64>]>) {
        guard let part = parts.first else { return }
        let runs = search.channel == .bulk ? part.flatMap { map.missingRuns(in: $0) } : part
        let (known, unknown) = runs.reduce(into: ([UInt64](), [UInt64]())) { blocks, run in
            if ask({ $0.isDescribed(run) }) { blocks.0 += Array(run) } else { blocks.1 += Array(run) }
        }
        fillFromHere(known[...], rest: unknown) { [self] rest in
            step { $0.searched(search, rest: rest.sorted().map { $0..<$0 + 1 }) }
            find(search, parts.dropFirst())
        }
    }

    /// Fills described blocks, one after the other.
    /// - Parameter done: told those that only the source has.
    private func fillFromHere(_ blocks: ArraySlice<UInt64>, rest: [UInt64], _ done: @escaping ([UInt64]) -> Void) {
        guard let block = blocks.first else { return done(rest) }
        let fingerprint = announced[block]!
        func filled() { fillFromHere(blocks.dropFirst(), rest: rest, done) }
        if fingerprint == .zero {
            fill(block, .values(disk.values(fingerprint, of: block)), from: .zero) { filled() }
        } else if disk.fingerprint(block, in: node.image) == fingerprint {
            fill(block, .inImage(fingerprint), from: .present) { filled() }
        } else if node.neighbour.contains(fingerprint) {
            fill(block, .values(disk.values(fingerprint, of: block)), from: .neighbour) { filled() }
        } else {
            fillFromHere(blocks.dropFirst(), rest: rest + [block], done)
        }
    }

    // MARK: Fills

    /// Puts a block into the image, as far as it is still wanted.
    private func fill(
        _ block: UInt64, _ bytes: Bytes, from origin: PostCopyMachine.Origin, _ done: @escaping () -> Void
    ) {
        let fill = ask { $0.arrived(block..<block + 1, from: origin) }
        guard !fill.accepted.isEmpty || node.faults.contains(.unclaimedFills) else {
            filled(fill, error: 0, isAtHand: false, nil)
            return done()
        }
        switch bytes {
        case .inImage(let fingerprint):
            node.later(400) { [self] in
                // Looked at once more while nobody else can touch it.
                let isThere = disk.fingerprint(block, in: node.image) == fingerprint
                if isThere, !fill.accepted.isEmpty { node.setManifest(fingerprint, of: block) }
                filled(fill, error: isThere ? 0 : EAGAIN, isAtHand: false, nil)
                done()
            }
        case .values(let values): node.isFull ? passBy(fill, values, done) : write(fill, block, values, done)
        }
    }

    private func write(
        _ fill: PostCopyMachine.Fill, _ block: UInt64, _ values: [UInt32], _ done: @escaping () -> Void
    ) {
        let first = disk.sectors(of: block..<block + 1).lowerBound
        let half = values.count / 2
        node.later(400) { [self] in
            node.image.write(values, at: first, from: 0, to: half)
            node.later(400) { [self] in
                node.image.write(values, at: first, from: half, to: values.count)
                if !fill.accepted.isEmpty { node.setManifest(disk.fingerprint(values), of: block) }
                filled(fill, error: 0, isAtHand: true, nil)
                done()
            }
        }
    }

    /// There is no room: reads of the block get its bytes all the same.
    private func passBy(_ fill: PostCopyMachine.Fill, _ values: [UInt32], _ done: @escaping () -> Void) {
        node.later(300) { [self] in
            filled(fill, error: ENOSPC, isAtHand: true, values)
            done()
        }
    }
}
