/// Ways in which the code can be broken on purpose, to see that the simulation finds it.
struct Faults: OptionSet, Sendable {
    let rawValue: Int

    /// Invariant 1: acknowledged writes are not in the dirty map.
    static let unmarkedWrites = Faults(rawValue: 1 << 0)
    /// Invariant 1: a block is read before its bit is cleared.
    static let readBeforeClear = Faults(rawValue: 1 << 1)
    /// Invariant 5: the destination is told before the word is durable.
    static let lateWord = Faults(rawValue: 1 << 2)
    /// Invariant 5: the source does not wait for requests in flight.
    static let unfenced = Faults(rawValue: 1 << 3)
    /// Invariant 2: the map is made durable before the data.
    static let mapBeforeData = Faults(rawValue: 1 << 4)
    /// Invariant 2: what was marked after the data was made durable counts as durable.
    static let lateSnapshot = Faults(rawValue: 1 << 5)
    /// Invariant 3: fills go past the claims.
    static let unclaimedFills = Faults(rawValue: 1 << 6)
    /// Invariant 8: blocks get lost on their way into the image, and the roots are not compared.
    static let uncheckedRoots = Faults(rawValue: 1 << 7)
    /// Invariant 13: a read before the switchover is answered from the local image.
    static let localEarlyReads = Faults(rawValue: 1 << 8)
    /// Invariant 2: a process that starts again believes the durable map, not the live one.
    static let forgottenLiveMap = Faults(rawValue: 1 << 9)
    /// Invariant 5: the destination serves a disk as soon as it is prepared.
    static let eagerDestination = Faults(rawValue: 1 << 11)
    /// Invariant 9: requests of an old link are still performed once a new one brings requests.
    static let overlappingForwards = Faults(rawValue: 1 << 12)
    /// The dirty blocks at the switchover are not named.
    static let unnamedDirt = Faults(rawValue: 1 << 13)

    /// Invariant 5: the source's image is not made durable before the disk is given away.
    static let unflushedSource = Faults(rawValue: 1 << 14)
    /// The destination does not say that its machine has gone down, so the source does not make lost changes again.
    static let silentBoot = Faults(rawValue: 1 << 10)

    /// What could not be stored is read from the image.
    static let staleDelivery = Faults(rawValue: 1 << 15)

    /// An attempt to make an image durable counts although an earlier one has failed.
    static let forgottenFlushFailure = Faults(rawValue: 1 << 16)
    /// The source switches a disk over that it could not make durable.
    static let handedOverUnflushed = Faults(rawValue: 1 << 17)
    /// The destination, started again, believes its live map although its image could not be made durable.
    static let believedMap = Faults(rawValue: 1 << 18)
    /// An arrival goes on with what an earlier one has left in an image that could not be made durable.
    static let damagedBase = Faults(rawValue: 1 << 19)
    /// Invariant 5: the source serves on although the word may be there.
    static let forgottenCommit = Faults(rawValue: 1 << 20)
    /// A node that starts again acts on a record that may not be durable.
    static let trustedRecord = Faults(rawValue: 1 << 21)
    /// The destination serves a disk although the record of that may not be there.
    static let servedUnknown = Faults(rawValue: 1 << 22)

    /// A disk of a group is given away by its own record, without the other disks.
    static let switchedAlone = Faults(rawValue: 1 << 23)
    /// The commit record of a group is believed to be there for one of its disks.
    static let believedCommon = Faults(rawValue: 1 << 24)
    /// The commit record of a group goes before the record of each disk stands by itself.
    static let forgottenCommon = Faults(rawValue: 1 << 25)

    /// The operator's switch between two attempts is refused as too late.
    static let refusedSwitch = Faults(rawValue: 1 << 26)
    /// The operator's switch between two attempts is forgotten.
    static let forgottenSwitch = Faults(rawValue: 1 << 27)
    /// The operator's cancel between two attempts is forgotten.
    static let forgottenCancel = Faults(rawValue: 1 << 28)

    /// The destination gives a batch of memory to its hypervisor whatever its proof says.
    static let believedBatches = Faults(rawValue: 1 << 29)
    /// Pages of memory refer to blocks that were written since they were sent.
    static let dirtyReferences = Faults(rawValue: 1 << 30)
    /// The source repairs another batch of memory than the one that it was asked for.
    static let strayRepairs = Faults(rawValue: 1 << 31)
    /// The source takes memory from its hypervisor however much is under way.
    static let ignoredWindow = Faults(rawValue: 1 << 32)
    /// The destination does not keep the pages of a batch of memory that was wrong.
    static let forgottenPages = Faults(rawValue: 1 << 33)

    /// Where the search for rare ones begins: a debug build plays some 20 seeds a second.
    static let firstSeeds: [String: UInt64] = [
        "trustedRecord": 11_600, "damagedBase": 4000, "forgottenCommit": 1700, "overlappingForwards": 2000,
        "believedCommon": 1100,
    ]

    /// Whether the fault shows only where a disk fails to become durable.
    var needsFailingDisks: Bool { contains(.damagedBase) }

    /// Whether the fault shows only where a state store fails.
    var needsFailingStores: Bool {
        !isDisjoint(with: [.trustedRecord, .servedUnknown, .forgottenCommit, .believedCommon])
    }

    /// Whether the fault shows only where several disks go together.
    var needsGroups: Bool { !isDisjoint(with: [.switchedAlone, .believedCommon, .forgottenCommon]) }

    /// Whether the fault shows only where memory goes beside the disks.
    var needsMemory: Bool {
        !isDisjoint(with: [.believedBatches, .dirtyReferences, .strayRepairs, .ignoredWindow, .forgottenPages])
    }

    static let named: [(name: String, fault: Faults)] = [
        ("unmarkedWrites", .unmarkedWrites), ("readBeforeClear", .readBeforeClear), ("lateWord", .lateWord),
        ("unfenced", .unfenced), ("mapBeforeData", .mapBeforeData), ("lateSnapshot", .lateSnapshot),
        ("unclaimedFills", .unclaimedFills), ("uncheckedRoots", .uncheckedRoots),
        ("localEarlyReads", .localEarlyReads), ("forgottenLiveMap", .forgottenLiveMap),
        ("eagerDestination", .eagerDestination),
        ("overlappingForwards", .overlappingForwards), ("unnamedDirt", .unnamedDirt),
        ("unflushedSource", .unflushedSource),
        ("silentBoot", .silentBoot), ("staleDelivery", .staleDelivery),
        ("forgottenFlushFailure", .forgottenFlushFailure),
        ("handedOverUnflushed", .handedOverUnflushed),
        ("believedMap", .believedMap), ("damagedBase", .damagedBase),
        ("forgottenCommit", .forgottenCommit),
        ("trustedRecord", .trustedRecord), ("servedUnknown", .servedUnknown),
        ("switchedAlone", .switchedAlone), ("believedCommon", .believedCommon),
        ("forgottenCommon", .forgottenCommon),
        ("refusedSwitch", .refusedSwitch), ("forgottenSwitch", .forgottenSwitch),
        ("forgottenCancel", .forgottenCancel),
        ("believedBatches", .believedBatches), ("dirtyReferences", .dirtyReferences),
        ("strayRepairs", .strayRepairs), ("ignoredWindow", .ignoredWindow), ("forgottenPages", .forgottenPages),
    ]
}
