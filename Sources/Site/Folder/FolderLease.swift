import NIOConcurrencyHelpers

/// A `MergeLease` that several threads use.
final class FolderLease: SiteLease {
    private let files: FolderFiles
    private let lease: NIOLockedValueBox<MergeLease>

    init(host: String, in files: FolderFiles) {
        self.files = files
        lease = NIOLockedValueBox(MergeLease(host: host))
    }

    func hold(now: ContinuousClock.Instant) throws -> Bool {
        try lease.withLockedValue { try $0.hold(in: files, now: now) }
    }

    var isHeld: Bool { lease.withLockedValue { $0 }.isHeld(in: files) }

    func release() { lease.withLockedValue { $0 }.release(in: files) }
}
