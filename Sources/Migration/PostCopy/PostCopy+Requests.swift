import Block
import BlockModel
import MigrationCore

/// Requests of clients, performed on the image.
extension PostCopy {
    func perform(_ operation: PostCopyScheduler.Operation) {
        guard let request = request(operation.id) else { return }
        let error = FileError.outcome { try Self.perform(operation, request, on: parts.image, geometry) }
        step { $0.performed(operation.id, error: error) }
    }

    private static func perform(
        _ operation: PostCopyScheduler.Operation, _ request: AsyncRequest, on image: any DiskImage,
        _ geometry: BlockGeometry
    ) throws {
        let offset = operation.bytes.lowerBound
        let length = operation.bytes.upperBound - offset
        switch operation.kind {
        case .read: try read(operation, request, from: image, geometry)
        case .write: try image.write(UnsafeRawBufferPointer(request.buffer), at: offset)
        case .trim: try image.punchHole(at: offset, length: length)
        case .writeZeroes where request.mayPunchHole: try image.punchHole(at: offset, length: length)
        case .writeZeroes: try image.writeZeros(at: offset, length: length)
        case .flush, .cache, .status: preconditionFailure("not performed on an image")
        }
    }

    /// Reads the bytes that the request has not been given otherwise.
    private static func read(
        _ operation: PostCopyScheduler.Operation, _ request: AsyncRequest, from image: any DiskImage,
        _ geometry: BlockGeometry
    ) throws {
        var position = operation.bytes.lowerBound
        let given = operation.delivered.map { geometry.diskBytes(of: $0).clamped(to: operation.bytes) }
        let end = operation.bytes.upperBound..<operation.bytes.upperBound
        for run in given.sorted(by: { $0.lowerBound < $1.lowerBound }) + [end] {
            if position < run.lowerBound {
                let part = Int(position - request.offset)..<Int(run.lowerBound - request.offset)
                try image.read(into: UnsafeMutableRawBufferPointer(rebasing: request.buffer[part]), at: position)
            }
            position = max(position, run.upperBound)
        }
    }
}

extension ArrivedBlocks {
    /// Copies blocks into the memory of a read, as far as they are its.
    func copy(_ runs: [Range<UInt64>], to request: AsyncRequest, _ geometry: BlockGeometry) {
        for run in runs {
            let wanted = geometry.diskBytes(of: run).clamped(to: request.offset..<request.offset + request.length)
            copy(wanted, into: request.buffer, at: request.offset, geometry)
        }
    }
}
