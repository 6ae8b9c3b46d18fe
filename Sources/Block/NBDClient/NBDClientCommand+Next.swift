import NBD

extension NBDClientCommand {
    private static let zeros = ZeroPage()
    /// Bytes of data in one command: a server that was not asked for its limits must accept them.
    private static let longestData: UInt64 = 32 << 20
    /// Bytes that one command without data covers.
    private static let longestRange: UInt64 = 1 << 30

    /// A command of the protocol.
    struct Wire {
        var command: Command
        var flags: CommandFlags = []
        var offset: UInt64 = 0
        /// Bytes of the range, and of the payload or of the room for what is read.
        var length: UInt64 = 0
        /// The payload of a write, or the room for what is read.
        var buffer: UnsafeMutableRawPointer?
    }

    /// Begins the next command of the request.
    mutating func next(_ traits: NBDClientTraits, _ durability: NBDClientDurability) -> Wire {
        let kind = request.pointee.kind
        let left = request.pointee.length - UInt64(request.pointee.progress)
        error = 0
        received = 0
        if request.pointee.stage == .makeDurable || kind == .flush {
            flushMark = durability.beginFlush()
            piece = 0
            return Wire(command: .flush)
        }
        piece = min(left, kind.carriesData ? Self.longestData : Self.longestRange)
        var wire = Wire(
            command: .read, offset: request.pointee.offset + UInt64(request.pointee.progress),
            buffer: kind.carriesData ? request.pointee.buffer! + request.pointee.progress : nil)
        if request.pointee.isForcedUnitAccess, traits.canForceUnitAccess, kind.isChange {
            wire.flags = .forceUnitAccess
        }
        switch (request.pointee.stage, kind) {
        case (.zeroFill, _):
            piece = min(left, UInt64(ZeroPage.count))
            wire.command = .write
            wire.buffer = UnsafeMutableRawPointer(mutating: Self.zeros.bytes)
        case (_, .read), (_, .flush):
            break
        case (_, .write):
            wire.command = .write
        case (_, .trim):
            wire.command = .trim
        case (_, .writeZeroes):
            wire.command = .writeZeroes
            if !request.pointee.mayPunchHole { wire.flags.insert(.noHole) }
            if request.pointee.mustBeFast { wire.flags.insert(.fastZero) }
        case (_, .cache):
            wire.command = .cache
        case (_, .status):
            wire.command = .blockStatus
        }
        wire.length = piece
        return wire
    }
}
