import MigrationCore

/// A record by which disks are given away: written or removed as `CommitAttempt` says.
struct CommitRecord: Sendable {
    /// Makes it durable.
    /// - Throws: `UncertainRecord` where a later life may find it; with any other error nothing has changed.
    let write: @Sendable () throws -> Void
    /// Removes it durably.
    /// - Throws: where a later life may find it.
    let erase: @Sendable () throws -> Void

    init(write: @escaping @Sendable () throws -> Void, erase: @escaping @Sendable () throws -> Void) {
        self.write = write
        self.erase = erase
    }

    init(_ record: some Encodable & Sendable, as name: String, in directory: StateDirectory) {
        write = { try directory.write(record, as: name) }
        // In doubt it may hold meanwhile what it was to hold: nobody acts on it before it is gone.
        erase = { try directory.remove(name, holding: record) }
    }

    /// Does a step.
    /// - Returns: how it has ended, and the error.
    func perform(_ step: CommitAttempt.Step) -> (CommitAttempt.Outcome, (any Error)?) {
        do {
            switch step {
            case .write: try write()
            case .erase: try erase()
            }
            return (.confirmed, nil)
        } catch let error as UncertainRecord {
            return (.unknown, error)
        } catch {
            return (.unchanged, error)
        }
    }
}
