/// The form of a connection's requests and replies, as negotiated.
public enum HeaderStyle: Sendable {
    /// Compact requests, simple replies.
    case simple
    /// Compact requests; replies in chunks. Protocol text, "Structured reply chunk message".
    case structured
    /// Requests with 64-bit lengths; replies in chunks. Protocol text of the branch extension-ext-header, "Extended
    /// request" and "Extended reply chunk message".
    case extended

    /// Bytes of a request header.
    public var requestHeaderLength: Int { self == .extended ? 32 : 28 }

    /// Bytes of the headers before the data of a read.
    public var dataHeaderLength: Int {
        switch self {
        case .simple: 16
        case .structured: 20 + 8
        case .extended: 32 + 8
        }
    }

    /// Bytes of a chunk's header, without the fields that its type adds.
    var chunkHeaderLength: Int { self == .extended ? 32 : 20 }
}
