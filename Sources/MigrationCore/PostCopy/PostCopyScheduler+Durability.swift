/// When the image and the map are made durable.
extension PostCopyScheduler {
    /// Makes blocks that have arrived durable soon, though no request waits for it.
    public mutating func checkpoint() -> [Action] {
        wantsCheckpoint = true
        return beginDurability()
    }

    /// The data, and then the map as it was before, are durable, or that failed.
    /// - Parameter error: an `errno`; 0 for success.
    public mutating func madeDurable(error: CInt) -> [Action] {
        precondition(isMakingDurable)
        isMakingDurable = false
        var actions: [Action] = []
        for id in awaitingSave { finish(id, error, &actions) }
        awaitingSave = []
        actions += beginDurability()
        return actions
    }

    mutating func awaitDurability(of id: UInt64) -> [Action] {
        awaitingNextSave.append(id)
        return beginDurability()
    }

    mutating func beginDurability() -> [Action] {
        guard !isMakingDurable, wantsCheckpoint || !awaitingNextSave.isEmpty else { return [] }
        isMakingDurable = true
        wantsCheckpoint = false
        awaitingSave = awaitingNextSave
        awaitingNextSave = []
        return [.makeDurable]
    }
}
