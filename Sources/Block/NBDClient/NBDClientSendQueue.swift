import Glibc
import NBD

/// Commands that are not wholly sent, in their order. One system call sends many of them, each from where it stands.
struct NBDClientSendQueue {
    private static let partsPerCall = 64
    /// Sent commands from which on their places are worth a move of the others.
    private static let fewestSent = 64

    /// Sent commands, and from `head` on those that are not wholly sent.
    private(set) var commands: [UnsafeMutablePointer<NBDClientCommand>] = []
    private var head = 0
    /// Bytes of the first command that are sent.
    private var sentOfHead = 0

    var isEmpty: Bool { head == commands.count }

    /// The command whose bytes are next; nil if there is none.
    var first: UnsafeMutablePointer<NBDClientCommand>? { isEmpty ? nil : commands[head] }

    mutating func append(_ command: UnsafeMutablePointer<NBDClientCommand>) { commands.append(command) }

    /// The bytes to send first: the rest of a header or of a payload. The queue must not be empty.
    var firstPart: (base: UnsafeRawPointer, count: Int) {
        let command = commands[head]
        if sentOfHead < CommandHeader.length {
            return (UnsafeRawPointer(command) + sentOfHead, CommandHeader.length - sentOfHead)
        }
        let done = sentOfHead - CommandHeader.length
        return (command.pointee.payload! + done, command.pointee.payloadLength - done)
    }

    /// Sends as much as the socket takes without waiting, and at most `limit` bytes.
    /// - Returns: bytes sent; negative with `errno` if there were none.
    func send(_ socket: CInt, limit: Int) -> Int {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: Self.partsPerCall) { parts in
            var count = 0
            var next = head
            var skipped = sentOfHead
            var left = limit
            func add(_ base: UnsafeRawPointer, _ length: Int) {
                parts[count] = iovec(iov_base: UnsafeMutableRawPointer(mutating: base), iov_len: min(length, left))
                left -= min(length, left)
                count += 1
            }
            while next < commands.count, count < parts.count - 1, left > 0 {
                let command = commands[next]
                if skipped < CommandHeader.length {
                    add(UnsafeRawPointer(command) + skipped, CommandHeader.length - skipped)
                }
                if command.pointee.payloadLength > 0, left > 0 {
                    let done = max(0, skipped - CommandHeader.length)
                    add(command.pointee.payload! + done, command.pointee.payloadLength - done)
                }
                skipped = 0
                next += 1
            }
            var message = msghdr()
            message.msg_iov = parts.baseAddress
            message.msg_iovlen = count
            return sendmsg(socket, &message, CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT))
        }
    }

    /// Removes `count` sent bytes.
    /// - Parameter whole: called for each command that is wholly sent.
    mutating func didSend(_ count: Int, whole: (UnsafeMutablePointer<NBDClientCommand>) -> Void) {
        sentOfHead += count
        while let first, sentOfHead >= CommandHeader.length + first.pointee.payloadLength {
            sentOfHead -= CommandHeader.length + first.pointee.payloadLength
            head += 1
            whole(first)
        }
        if isEmpty { return removeAll() }
        // Under a steady load the queue may never be empty.
        if head >= Self.fewestSent, head * 2 >= commands.count {
            commands.removeFirst(head)
            head = 0
        }
    }

    mutating func removeAll() {
        commands.removeAll(keepingCapacity: true)
        head = 0
        sentOfHead = 0
    }
}
