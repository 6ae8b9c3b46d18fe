import NIOCore

extension Message {
    /// Whether a frame of a source says that the switchover comes, or that the migration is over. Nothing else is decoded.
    package static func isUrgent(_ frame: ByteBuffer) -> Bool {
        guard let kind = frame.getInteger(at: frame.readerIndex, as: UInt8.self) else { return false }
        switch Kind(rawValue: kind) {
        case .cancel: return true
        case .postcopy:
            let kind = frame.getInteger(at: frame.readerIndex + 1, as: UInt8.self)
            return kind.map(PostcopyMessage.belongsToSwitchover) ?? false
        default: return false
        }
    }
}
