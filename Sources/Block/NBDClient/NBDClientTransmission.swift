import Ring

/// The transmission phase of one connection to another server: commands go out, answers come in.
///
/// 1. `begin` takes commands; `proceed` sends them.
/// 2. Each that ends is told to `NBDClientConnection.ended`, also those that `close` finds in flight.
/// 3. `leave` or `close` ends the connection.
///
/// It is a class and not a protocol: a command costs one virtual call and no existential. On the connection's loop only.
class NBDClientTransmission: RingHandler {
    unowned let connection: NBDClientConnection
    /// Keeps the connection and this object alive while the ring has an operation of it.
    private var held: (NBDClientConnection, NBDClientTransmission)?

    init(_ connection: NBDClientConnection) { self.connection = connection }

    /// Creates the transmission for a link, which then owns the link. Only a connection in the clear is read and written by
    /// this process itself.
    static func make(_ link: NBDClientLink, _ connection: NBDClientConnection) -> NBDClientTransmission {
        link.isSecure ? NBDClientLibrary(link, connection) : NBDClientStream(link, connection)
    }

    /// Whether the connection is lost. Nothing of it uses a request's buffer any more.
    var isBroken: Bool { preconditionFailure("a transmission must override isBroken") }

    /// Begins a command.
    /// - Returns: false if the connection is lost; otherwise `ended` is called later.
    func begin(_ command: UnsafeMutablePointer<NBDClientCommand>, _ wire: NBDClientCommand.Wire) -> Bool {
        preconditionFailure("a transmission must override begin")
    }

    /// Sends what can be sent and waits for answers, or for the end of the server.
    func proceed() { preconditionFailure("a transmission must override proceed") }

    /// Ends the connection at once; `isBroken` follows.
    func hangUp() { preconditionFailure("a transmission must override hangUp") }

    /// Ends a connection without commands in flight, in order.
    func leave() { preconditionFailure("a transmission must override leave") }

    /// Ends a broken connection. Commands in flight end with an error.
    /// - Returns: the socket, if this object has ended only its own half.
    func close() -> ClosingSocket? { preconditionFailure("a transmission must override close") }

    /// Notes whether the ring has an operation of this object.
    func hold(_ isHeld: Bool) {
        guard isHeld else {
            // The connection lives until the end of the turn, and then lets go of this object.
            connection.proceedAtBatchEnd()
            let last = held
            held = nil
            return withExtendedLifetime(last) {}
        }
        if held == nil { held = (connection, self) }
    }
}
