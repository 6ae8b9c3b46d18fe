@testable import Block
@testable import BlockModel

/// Submits requests of one block and logs their ends; `check` may examine each before that. Used on a loop's thread;
/// any thread may read the log.
final class RecordingOwner: RequestOwner, @unchecked Sendable {
    let ended = Log()
    let failed = Log()
    private let check: (UnsafeMutablePointer<BlockRequest>) -> Bool

    init(check: @escaping (UnsafeMutablePointer<BlockRequest>) -> Bool = { $0.pointee.error == 0 }) {
        self.check = check
    }

    func submit(_ kind: RequestKind, at offset: Int, bytes: [UInt8] = [1], to port: DiskPort) {
        let request = UnsafeMutablePointer<BlockRequest>.allocate(capacity: 1)
        request.initialize(to: BlockRequest(owner: self, port: port))
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: bytes.count, alignment: 16)
        buffer.copyMemory(from: bytes, byteCount: bytes.count)
        request.pointee.kind = kind
        request.pointee.offset = UInt64(offset)
        request.pointee.length = UInt64(bytes.count)
        request.pointee.buffer = buffer
        port.submit(request)
    }

    override func finished(_ request: UnsafeMutablePointer<BlockRequest>) {
        (check(request) ? ended : failed).append(Int(request.pointee.offset))
        request.pointee.buffer?.deallocate()
        request.deallocate()
    }
}
