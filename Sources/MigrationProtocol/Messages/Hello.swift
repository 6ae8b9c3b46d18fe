/// The first message on a connection.
public struct Hello: Sendable, Equatable {
    /// The purpose of a connection.
    public enum Purpose: UInt8, Sendable {
        /// A purpose that this release does not know.
        case unknown = 0
        /// To move a disk to the node that is called.
        case migrate = 1
        /// To send the callee requests for a disk that moves, or has moved, there.
        case forward = 2
        /// To answer the callee's requests for missing blocks that somebody waits for.
        case demand = 3
        /// To answer the callee's requests for all other missing blocks.
        case bulk = 4
        /// To estimate the cost of moving a disk to the callee. It goes like `migrate` up to the end of the manifest,
        /// and nothing is kept.
        case estimate = 5
        /// To carry one connection of a guest's memory migration; `export` is the guest's name.
        case memory = 6
        /// To measure the link; no disk is touched.
        case probe = 7
        /// To read images of the callee, which is a host of the same site; `export` is the caller's name there.
        case neighbours = 8
    }

    package static let magic: UInt64 = 0x6e65_6172_626c_6b32

    package var support = ProtocolSupport.own
    package var purpose: Purpose
    /// The migration of the disk; meaningless for `migrate`, `estimate` and `memory`.
    package var migration: MigrationID
    /// The caller has given the disk up for good, so the callee must take it over (invariant 5); not for `migrate` and
    /// `estimate`.
    package var isCommitted = false
    /// The name of the disk, of the guest, or of the calling host; empty for `migrate` and `estimate`.
    package var export = ""

    package init(
        support: ProtocolSupport = ProtocolSupport.own, purpose: Purpose, migration: MigrationID,
        isCommitted: Bool = false, export: String = ""
    ) {
        self.support = support
        self.purpose = purpose
        self.migration = migration
        self.isCommitted = isCommitted
        self.export = export
    }
}
