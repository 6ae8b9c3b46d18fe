import Ring

@testable import Block
@testable import NBD

/// Commands without a connection, for the parts of a client that only look at commands.
final class LooseCommands {
    let commands = NBDClientCommands()
    private let loop: EventLoop
    private let disk: Disk
    private let owner = RequestOwner()
    private var requests: [UnsafeMutablePointer<BlockRequest>] = []

    init() throws {
        loop = try EventLoop(index: 0)
        disk = Disk(size: 1 << 30, device: HandDevice(), loops: [loop])
    }

    deinit {
        for request in requests { request.deallocate() }
        loop.stop()
    }

    /// Makes a command that has begun; nothing looks at its connection.
    func make(
        _ kind: Command, offset: UInt64 = 0, _ buffer: UnsafeMutableRawBufferPointer, isSent: Bool = true
    ) -> UnsafeMutablePointer<NBDClientCommand> {
        let request = UnsafeMutablePointer<BlockRequest>.allocate(capacity: 1)
        request.initialize(to: BlockRequest(owner: owner, port: disk.port(on: loop)))
        request.pointee.buffer = buffer.baseAddress
        request.pointee.extentLimit = buffer.count / MemoryLayout<BlockExtent>.stride
        requests.append(request)
        let command = commands.take(
            request, .passUnretained(disk.port(on: loop)), .fromOpaque(UnsafeRawPointer(bitPattern: 16)!))
        command.pointee.use &+= 1
        command.pointee.piece = UInt64(buffer.count)
        command.pointee.answer = CommandAnswer(
            kind, offset: offset, length: UInt64(buffer.count), isStructured: true, context: 77)
        command.pointee.header = CommandHeader(
            kind, [], cookie: command.pointee.cookie, offset: offset, length: UInt32(buffer.count))
        if kind == .write {
            command.pointee.payload = UnsafeRawPointer(buffer.baseAddress!)
            command.pointee.payloadLength = buffer.count
        } else if kind == .read {
            command.pointee.room = buffer.baseAddress
        }
        command.pointee.state = isSent ? .sent : .queued
        return command
    }
}
