extension Request {
    /// Judges a request before anything is touched. Protocol text, "Request types" and "Error values".
    /// - Returns: `.none` where it may be served, otherwise what to answer.
    public func verdict(under negotiation: Negotiation) -> ErrorCode {
        guard let command else { return .invalid }
        // There is no reply to it: whatever it says besides, the client leaves.
        if command == .disconnect { return .none }
        guard flags.subtracting(Self.allowedFlags(command, negotiation.style)).isEmpty else { return .invalid }
        let export = negotiation.export
        switch command {
        case .disconnect:
            return .none
        case .flush:
            return offset == 0 && length == 0 ? .none : .invalid
        case .read:
            // Clients that know chunks are told to come back with less.
            if length > Wire.longestPayload { return negotiation.style == .simple ? .invalid : .overflow }
            return isInside(export) ? .none : .invalid
        case .write:
            guard payloadLength == length else { return .invalid }
            if export.isReadOnly { return .notPermitted }
            if length > Wire.longestPayload { return .invalid }
            return isInside(export) ? .none : .noSpace
        case .trim:
            if export.isReadOnly { return .notPermitted }
            return isInside(export) ? .none : .invalid
        case .cache:
            return isInside(export) ? .none : .invalid
        case .writeZeroes:
            if export.isReadOnly { return .notPermitted }
            return isInside(export) ? .none : .noSpace
        case .blockStatus:
            // An answer has at least one extent, and no extent is empty.
            guard !negotiation.contexts.isEmpty, length > 0 else { return .invalid }
            return isInside(export) ? .none : .invalid
        }
    }

    private func isInside(_ export: ExportDescription) -> Bool {
        let (end, overflows) = offset.addingReportingOverflow(length)
        return !overflows && end <= export.size
    }

    /// FUA is harmless wherever a client may send it, and the protocol says to accept it on every command.
    private static func allowedFlags(_ command: Command, _ style: HeaderStyle) -> CommandFlags {
        switch command {
        case .read: style == .simple ? .forceUnitAccess : [.forceUnitAccess, .doNotFragment]
        case .write: style == .extended ? [.forceUnitAccess, .payloadLength] : .forceUnitAccess
        case .writeZeroes: [.forceUnitAccess, .noHole, .fastZero]
        case .blockStatus: [.forceUnitAccess, .requestOne]
        case .disconnect, .flush, .trim, .cache: .forceUnitAccess
        }
    }
}
