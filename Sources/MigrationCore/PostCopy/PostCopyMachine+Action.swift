import MigrationProtocol

extension PostCopyMachine {
    /// Work for the driver.
    package enum Action: Equatable, Sendable {
        /// Perform a request on the image, then call `performed`.
        case perform(PostCopyScheduler.Operation)
        /// Copy blocks of the fill that has just failed into the memory of a read.
        case deliver(id: UInt64, [Range<UInt64>])
        /// Answer a client.
        case finish(id: UInt64, error: CInt)

        /// Send a message; lost if the channel is down.
        case send(PostcopyMessage, on: PostCopyChannel)
        /// Send all runs that never came from the source, over `bulk`.
        case sendReplaced
        /// End the connections: the source has heard that the disk is complete.
        case closeChannels

        /// Look for blocks here and fill what is found, then call `searched` for each part.
        case search(Search)
        /// Fill blocks that have come, then call `stored`. Only from `receive`.
        case store(Received)
        /// Record what the source has said of blocks, then call `described`. Only from `receive`.
        case record(Description)

        /// Perform a step of making durable, then call `saved`.
        case save(SaveSequence.Step)
        /// Compute the root of the image without the blocks that never came from the source, make the manifest durable, and
        /// call `rootComputed` or `rootFailed`.
        case computeRoot
        /// Record durably that the disk is complete, then call `completionRecorded` or `completionFailed`. Only from `receive`.
        case recordCompletion(Ledger)

        /// Tell the operator.
        case report(Problem)
        /// Call `retry` after a pause.
        case retry(after: Duration)
    }
}
