import Block
import BlockModel
import FreeSpace
import Index
import Migration
import MigrationProtocol
import NBDServer
import Peer

extension MigrateCommand {
    /// Creates the job that migrates one export of this command.
    /// - Parameters:
    ///   - rate: Limit that all disks of the command share.
    ///   - index: The directory of this node's neighbours; nil for none.
    /// - Throws: `NodeError` if the export can't be migrated this way; an error if its records are in doubt.
    func job(for export: NodeExport, rate: RateLimit, index: String?, formats: FormatWarnings) throws -> SourceJob {
        if let problem = ExportName.problem(with: export.name) { throw NodeError.unusable(problem) }
        let isReadOnly = export.export.description.isReadOnly
        guard !isReadOnly || switchover != .firstWrite else { throw NodeError.readOnly(export.name) }
        guard let backing = export.backing else { throw NodeError.isArriving(export.name) }
        guard let records = export.records else { throw NodeError.isArriving(export.name) }
        if let problem = backing.remote?.sharingProblem { throw NodeError.unusable("\(export.name): \(problem)") }
        let image = backing.image
        try records.checkIsIdentified()
        if export.configuration?.format == nil { formats.check(backing.file, .moved) }
        var job = SourceJob(
            export: export.name, disk: export.export.disk, image: image,
            destination: destination, switchover: switchover,
            maximumPause: maximumPause.map { .seconds($0) }, rate: rate, records: records)
        job.showing = { [maps = export.export.maps] map in
            let name = ChangeBitmap.namespace + ChangeBitmap.migrationName
            if let map { maps.show(BlockMarks(dirty: map), as: name) } else { maps.retire(name) }
        }
        if let file = backing.file {
            job.readFree = { _, geometry in FreeSpaceReader().free(on: file.descriptor, geometry) }
            job.findPlaces = { _ in PartitionReader().places(on: file.descriptor) ?? [] }
        }
        if let bitmap = export.bitmap {
            job.readBitmap = { MovedBitmap(name: bitmap.name, bits: await bitmap.give()) }
        }
        job.isReadOnly = isReadOnly
        if let index { job.openIndex = { try? NeighbourIndex.open(directory: index) } }
        job.hasMemory = memory != nil
        job.checksSpace = skipsSpaceCheck != true
        job.domains = domains
        job.maximumRounds = maximumRounds ?? .max
        job.dirtyThreshold = dirtyThreshold ?? 0
        return job
    }
}
