import Ring

/// The commands of one connection; their memory is used again, so that a steady load allocates nothing.
///
/// Used on the connection's loop only.
final class NBDClientCommands {
    private var all: [UnsafeMutablePointer<NBDClientCommand>] = []
    private var free: [UnsafeMutablePointer<NBDClientCommand>] = []

    deinit {
        for command in all {
            command.deinitialize(count: 1)
            command.deallocate()
        }
    }

    /// Returns a command for `request`, until `give`.
    func take(
        _ request: UnsafeMutablePointer<BlockRequest>, _ port: Unmanaged<DiskPort>,
        _ connection: Unmanaged<NBDClientConnection>
    ) -> UnsafeMutablePointer<NBDClientCommand> {
        guard let command = free.popLast() else { return make(request, port, connection) }
        let use = command.pointee.use
        command.pointee = NBDClientCommand(
            index: command.pointee.index, request: request, port: port, connection: connection)
        command.pointee.use = use
        return command
    }

    private func make(
        _ request: UnsafeMutablePointer<BlockRequest>, _ port: Unmanaged<DiskPort>,
        _ connection: Unmanaged<NBDClientConnection>
    ) -> UnsafeMutablePointer<NBDClientCommand> {
        let command = UnsafeMutablePointer<NBDClientCommand>.allocate(capacity: 1)
        command.initialize(
            to: NBDClientCommand(index: UInt32(all.count), request: request, port: port, connection: connection))
        all.append(command)
        return command
    }

    /// Takes back a command that no connection has any more.
    func give(_ command: UnsafeMutablePointer<NBDClientCommand>) { free.append(command) }

    /// The command that a server names; nil if none in flight has this cookie.
    func find(cookie: UInt64) -> UnsafeMutablePointer<NBDClientCommand>? {
        let index = Int(truncatingIfNeeded: cookie & UInt64(UInt32.max))
        guard index < all.count, all[index].pointee.cookie == cookie, all[index].pointee.state != .idle else {
            return nil
        }
        return all[index]
    }

    /// Calls `body` for each command that a connection has.
    func forEachInFlight(_ body: (UnsafeMutablePointer<NBDClientCommand>) -> Void) {
        for command in all where command.pointee.state != .idle { body(command) }
    }
}
