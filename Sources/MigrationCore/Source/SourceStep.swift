import BlockModel
import MigrationProtocol

extension SourceMachine {
    /// Work of the driver. Each step ends with one event of the machine, which names the next; after a step that says so, the
    /// destination's answer does.
    package enum Step: Equatable, Sendable {
        /// Say hello; ends with the welcome.
        case greet
        /// Note the attempt and offer the disk; ends with the answer.
        case offer(BlockGeometry, ProtocolSupport.Agreement)
        /// Track the guest's writes; then `opened`.
        case open(OpenedMigration)
        /// Wait until the destination has taken the offers of all disks; then `met`.
        case meetBeforeCopying
        /// Connect what the switchover needs, if it may come at any moment, and say when it will come; then `started`.
        case start(isReadyAtOnce: Bool, expects: Switchover?)

        /// Tell what every block is, and send what is wanted of them; then `copied`.
        case copyManifest
        /// Say that a round is over; ends with the destination's confirmation.
        case endRound(Int)
        /// Connect the forwarding link ahead of the switchover, so that the guest need not wait for it; then `connected`.
        case connect
        /// See what is left; then `measured`.
        case measure
        /// Tell the group whether the disk could go now; then `agreed`.
        case agree(isReady: Bool)
        /// Wait a moment for the other disks, see what is left; then `measuredAgain`.
        case awaitOthers
        /// Wait a little, unless somebody asks for the disk; then `waited`.
        case wait
        /// Tell the group that the disk can't go now, and send what the guest has written meanwhile; then `copied`.
        case copy(round: Int, CopyPlan.Scope)

        /// Make the image durable, and copy meanwhile; then `flushed`.
        case flushCopying(round: Int)
        /// Name what is left and say that the round is over; after the destination's confirmation `named`.
        case nameAhead(round: Int)
        /// Make most of the image durable, before the guest waits; then `flushed`.
        case flush
        /// Wait until no disk of the group copies any more; then `met`.
        case meetBeforeFence

        /// Hold the guest's requests back; then `fenced`.
        case fence
        /// Send all that is left, say that the round is over, and tell the root; ends with the destination's root.
        case sendRest(round: Int)
        /// Name all that is left; ends with the destination's root.
        case nameRest
        /// Compare this with the source's root; then `compared`.
        case compare(DiskRoot)
        /// Make the commit record durable, together with the other disks; then `committed`.
        case commit
        /// Tell the destination, forward the clients' requests to it, and lift the fence: then `forwarded`.
        case forward
        /// Wait until the destination has said that it serves the disk; then `moved`.
        case awaitActive
        /// Supply what the destination still lacks; then `released`.
        case supplyRest
        /// Nothing is left to do.
        case finish
    }

    /// The meaning of a message of the destination.
    package enum Reception: Equatable, Sendable {
        /// The current step has ended; this one follows.
        case next(Step)
        /// Answers to the manifest.
        case wants(Wants)
        case differences(ManifestDifferences)
        /// All of the manifest has been answered.
        case manifestDone
        /// The answer to a question for a prefix.
        case prefix(PrefixAnswer)
        /// The destination has what was named ahead of the fence.
        case named
        /// Blocks that the destination lacks; ascending, and all of the disk.
        case missing([Range<UInt64>])
        /// A client of the destination wants to write to the disk: all disks of the group are to go.
        case switchOver
        /// The destination serves the disk.
        case active
        /// The destination has given up too late: the commit record counts, and the forwarding link tells it so.
        case lost
        /// There is nothing to do.
        case nothing
    }
}
