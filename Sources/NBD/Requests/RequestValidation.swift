extension Request {
    /// Validates a request before it has any effect. Protocol text, "Request types" and "Error values".
    /// - Returns: `.none` if it may be served, otherwise the error of its reply.
    public func verdict(under terms: RequestTerms) -> ErrorCode {
        guard let command else { return .invalid }
        // DISCONNECT has no reply, so nothing else about the request matters.
        if command == .disconnect { return .none }
        guard flags.subtracting(Self.allowedFlags(command, terms.style)).isEmpty else { return .invalid }
        switch command {
        case .disconnect:
            return .none
        case .flush:
            return offset == 0 && length == 0 ? .none : .invalid
        case .read:
            // Clients that know chunks learn that a shorter request would succeed.
            if length > Wire.longestPayload { return terms.style == .simple ? .invalid : .overflow }
            return isInside(terms) ? .none : .invalid
        case .write:
            if terms.isReadOnly { return .notPermitted }
            if length > Wire.longestPayload { return .invalid }
            return isInside(terms) ? .none : .noSpace
        case .trim:
            if terms.isReadOnly { return .notPermitted }
            return isInside(terms) ? .none : .invalid
        case .cache:
            return isInside(terms) ? .none : .invalid
        case .writeZeroes:
            if terms.isReadOnly { return .notPermitted }
            return isInside(terms) ? .none : .noSpace
        case .blockStatus:
            // An answer has at least one extent, and no extent is empty.
            guard terms.hasContexts, length > 0 else { return .invalid }
            return isInside(terms) ? .none : .invalid
        }
    }

    private func isInside(_ terms: RequestTerms) -> Bool {
        let (end, overflows) = offset.addingReportingOverflow(length)
        return !overflows && end <= terms.size
    }

    /// The protocol requires that FUA is accepted on every command.
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
