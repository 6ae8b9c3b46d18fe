extension Request {
    /// Judges a request before anything is touched. Protocol text, "Request types" and "Error values".
    /// - Returns: `.none` where it may be served, otherwise what to answer.
    public func verdict(for export: ExportDescription) -> ErrorCode {
        guard let command else { return .invalid }
        guard flags.subtracting(Self.allowedFlags(command)).isEmpty else { return .invalid }
        switch command {
        case .disconnect:
            return .none
        case .flush:
            return offset == 0 && length == 0 ? .none : .invalid
        case .read:
            if length > Wire.maximumPayload { return .overflow }
            return isInside(export) ? .none : .invalid
        case .write:
            if export.isReadOnly { return .notPermitted }
            if length > Wire.maximumPayload { return .overflow }
            return isInside(export) ? .none : .noSpace
        case .trim:
            if export.isReadOnly { return .notPermitted }
            return isInside(export) ? .none : .invalid
        case .writeZeroes:
            if export.isReadOnly { return .notPermitted }
            return isInside(export) ? .none : .noSpace
        }
    }

    private func isInside(_ export: ExportDescription) -> Bool {
        let (end, overflows) = offset.addingReportingOverflow(UInt64(length))
        return !overflows && end <= export.size
    }

    /// FUA is harmless wherever a client may send it, and the protocol says to accept it on every command.
    private static func allowedFlags(_ command: Command) -> CommandFlags {
        command == .writeZeroes ? [.forceUnitAccess, .noHole] : .forceUnitAccess
    }
}
