import NIOCore

/// A message between two nodes. One message is one frame: a type byte, then the fields in big-endian order.
public enum Message: Sendable, Equatable {
    // Opening, by the node that connects, and its answer. Releases of any age must understand these three: their fields
    // never change, and what later releases add at the end is passed over.
    case hello(Hello)
    case welcome(Welcome)
    case refused(reason: String)
    /// As `refused`: there is too little room. Earlier releases read it as `refused`.
    case refusedForRoom(reason: String)

    // Source to destination.
    case offer(Offer)
    case manifest(ManifestSegment)
    /// Only after `acceptedOnBase`: answered by `differences`, and followed by manifests of those.
    case summary(ManifestSummary)
    case manifestEnd
    /// Answered by `prefixAnswer`.
    case prefixQuestion(PrefixQuestion)
    case zeros(BlockRange)
    case data(DataSegment)
    case roundEnd(UInt32)
    /// Blocks of the disk's dirty bitmap, behind the fence; only if both sides have `bitmaps`.
    case bitmap(BitmapPart)
    case prepare(DiskRoot)
    case commit
    case cancel(reason: String)

    // Destination to source.
    case accepted
    /// As `accepted`, and an older copy of the disk is there.
    case acceptedOnBase
    case differences(ManifestDifferences)
    case wants(Wants)
    case manifestDone
    case prefixAnswer(PrefixAnswer)
    case roundDone(UInt32)
    case prepared(DiskRoot)
    case active
    case failed(reason: String)

    // Requests of the source's clients after the switchover, and their answers.
    case request(ForwardRequest)
    case answer(ForwardAnswer)
    /// Names the migrations by which other nodes forward to the sender: they may come by themselves.
    case introduce([MigrationID])
    /// The answer: they would be let in, over a restart too.
    case introduced
    /// The node that the disk has moved on to; requests may go there.
    case successor(Successor)

    // About a disk that is switched over before all of it is there.
    case postcopy(PostcopyMessage)

    // About a guest's memory.
    case memory(MemoryMessage)

    // Measuring the link.
    /// Payload that is counted and thrown away; answered by `probed`.
    case probe(ByteBuffer)
    case probed(ProbeAnswer)

    // Reading images of another host of the site.
    case neighbourRead(NeighbourRead)
    case neighbourBytes(NeighbourBytes)
    // Blocks that come to several hosts of the site.
    case arrivalQuestion(ArrivalQuestion)
    case arrivalAnswer(ArrivalAnswer)
    case arrivalRead(ArrivalRead)
    case arrivalBytes(ArrivalBytes)
}
