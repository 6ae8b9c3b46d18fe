import Block
import Foundation
import Logging
import Migration
import Rados
import Ring
import Site
import StorageDaemon

/// Opens the disks of configurations.
struct BackingOpener: Sendable {
    /// Time for a helper of this node to end, and for the site to be told.
    private static let endOfHelper = Duration.seconds(20)
    private static let pauseSeconds = 0.1

    let loops: [Ring.EventLoop]
    /// Directory for the sockets of helpers.
    let directory: String
    let logger: Logger
    /// The node's own records of disks.
    let state: StateDirectory
    /// The disks of the site on RBD images; nil if the site does not keep any.
    var disks: (register: DiskRegister, owner: DiskOwner)?

    /// Opens the backing of a configuration.
    /// - Parameters:
    ///   - losses: Counts what another server may have lost; that of the backing which this one replaces.
    ///   - isArriving: Whether a disk comes that was not here before.
    /// - Throws: `FileError`, `NBDClientError`, `StorageDaemonError` or `NodeError`; the message is one line.
    func open(
        _ configuration: ExportConfiguration, losses: LossCount = LossCount(), isArriving: Bool = false
    ) async throws -> Backing {
        let backing = configuration.backing
        if NBDClientImage.isURI(backing) {
            try refuse(configuration, isDirect: true, hasFormat: true)
            let image = try await NBDDiskImage.open(
                uri: backing, givenName: configuration.identity, loops: loops, losses: losses,
                report: report(configuration.name))
            return Backing(image, isReadOnly: configuration.isReadOnly)
        }
        let format = try format(of: configuration)
        let opened =
            ImageSpecification.isNeeded(for: backing, format: format)
            ? try await openWithDaemon(configuration, format, losses, isArriving: isArriving)
            : try openRaw(configuration)
        // An image that can't be opened is tried again and again.
        if configuration.format == "auto" {
            logger.notice(
                "\(configuration.name): \(backing) is a \(format ?? "raw") image, according to its first bytes")
        }
        return opened
    }

    private func openRaw(_ configuration: ExportConfiguration) throws -> Backing {
        let image = try RawImage(
            path: configuration.backing, access: configuration.isReadOnly ? .readOnly : .readWrite,
            isDirect: configuration.isDirect, givenName: configuration.identity, size: configuration.size,
            makesMissing: true)
        return Backing(image, isReadOnly: configuration.isReadOnly)
    }

    /// Refuses options that a kind of backing does not have.
    private func refuse(_ configuration: ExportConfiguration, isDirect: Bool, hasFormat: Bool) throws {
        let backing = configuration.backing
        if isDirect, configuration.isDirect {
            throw NodeError.unusable("\(backing): direct is for files and block devices only")
        }
        guard configuration.size == nil else {
            throw NodeError.unusable("\(backing): a size is for raw files and block devices only")
        }
        if hasFormat, let format = configuration.format, format != "raw" {
            throw NodeError.unusable("\(backing): the server says what the disk is; leave the format \(format) out")
        }
    }

    /// The format of an image; nil for raw.
    private func format(of configuration: ExportConfiguration) throws -> String? {
        guard configuration.format == "auto" else { return configuration.format }
        let backing = configuration.backing
        guard !ImageSpecification.isNeeded(for: backing, format: nil) else {
            throw NodeError.unusable("\(backing): only the format of a file or block device can be found out; name it")
        }
        let found = try RawImage(path: backing, access: .readOnly).format()?.name
        if let found, !ImageSpecification.formats.contains(found) {
            throw NodeError.unusable(
                "\(backing) is a \(found) image, which can't be served; first run: qemu-img convert -f \(found) -O qcow2"
            )
        }
        return found
    }

    private func openWithDaemon(
        _ configuration: ExportConfiguration, _ format: String?, _ losses: LossCount, isArriving: Bool
    ) async throws -> Backing {
        try refuse(configuration, isDirect: false, hasFormat: false)
        let specification = try ImageSpecification(configuration.backing, format: format)
        let source = try specification.path.map { path in
            try FormattedFile(path: path, format: specification.format ?? "raw")
        }
        var options = StorageDaemon.Options(isReadOnly: configuration.isReadOnly)
        options.isDirect = configuration.isDirect
        let report = report(configuration.name)
        let daemon = try await Self.onThread { [directory, options] in
            let claim = try claim(configuration, specification, isArriving: isArriving)
            return try StorageDaemon.start(
                specification, options, in: directory, admission: claim, isStillThere: { source?.isAtPath ?? true },
                report: report)
        }
        let image = try await NBDDiskImage.open(
            uri: daemon.uri, path: configuration.backing, source: source, givenName: configuration.identity,
            loops: loops, losses: losses, server: daemon, report: report)
        tellOtherFiles(of: configuration, specification)
        return Backing(image, isReadOnly: configuration.isReadOnly, daemon: daemon)
    }

    /// Takes the right to write to an RBD image of the site. Blocks the thread.
    private func claim(
        _ configuration: ExportConfiguration, _ specification: ImageSpecification, isArriving: Bool
    ) throws -> DiskClaim? {
        guard let disks, !configuration.isReadOnly else { return nil }
        guard let place = RBDPlace(configuration.backing) else {
            if specification.hidesCeph { throw DiskError.hidden(configuration.backing) }
            return nil
        }
        let own = PlaceRecords(in: state, at: configuration.backing, named: configuration.identity)
        let end = ContinuousClock.now + Self.endOfHelper
        while true {
            do {
                return try DiskClaim(
                    place, as: configuration.name, of: disks.owner, in: disks.register, own: own,
                    isArriving: isArriving)
            } catch DiskError.isServedHere(let image) {
                // The helper of an earlier attempt of this node may still write what it holds back.
                guard .now < end else { throw DiskError.isServedHere(image) }
                Thread.sleep(forTimeInterval: Self.pauseSeconds)
            }
        }
    }

    /// Logs which other files an image names: whoever wrote the image has chosen them, and not the operator.
    private func tellOtherFiles(of configuration: ExportConfiguration, _ specification: ImageSpecification) {
        guard specification.format == "qcow2", let path = specification.path, let header = QCOW2Header(path: path)
        else {
            return
        }
        if let file = header.backingFile {
            logger.notice(
                "\(configuration.name): blocks that are not in \(path) are read from its backing file, \(file)")
        }
        if header.hasDataFile {
            logger.notice("\(configuration.name): the blocks of \(path) are in another file, which it names")
        }
    }

    private func report(_ export: String) -> @Sendable (String) -> Void {
        { [logger] line in logger.error("\(export): \(line)") }
    }

    /// Runs `body`, which blocks, on a thread of its own.
    static func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Swift.Result { try body() }) }
        }
    }
}

extension PlaceRecords: OwnDiskRecords {}
