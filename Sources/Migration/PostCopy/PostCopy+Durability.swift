import Block
import BlockModel
import MigrationCore

/// The steps of making durable, and the root of the image.
extension PostCopy {
    func save(_ save: SaveSequence.Step) {
        let failure = Self.failure {
            switch save {
            case .synchronizeImage: try parts.image.synchronize()
            case .distrustMemory: parts.store.distrustMemory()
            case .synchronizeManifest: try parts.manifest.synchronize()
            case .writePages(let pages): try parts.store.write(pages)
            }
        }
        step { $0.saved(failure) }
    }

    func computeRoot() {
        do {
            let root = try parts.manifest.root(without: map.notTaken)
            try parts.manifest.synchronize()
            step { $0.rootComputed(root) }
        } catch {
            step { $0.rootFailed(Self.failure(error)) }
        }
    }

    private static func failure(_ body: () throws -> Void) -> WorkFailure? {
        do { try body() } catch { return failure(error) }
        return nil
    }

    private static func failure(_ error: any Error) -> WorkFailure {
        WorkFailure(code: FileError.outcome { throw error }, reason: "\(error)")
    }
}
