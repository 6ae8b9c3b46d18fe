/// The options of the handshake. Protocol text, "Option types".
enum Option: UInt32 {
    case exportName = 1
    case abort = 2
    case list = 3
    case startTLS = 5
    case info = 6
    case go = 7
    case structuredReply = 8
    case listMetaContext = 9
    case setMetaContext = 10
    /// Protocol text of the branch extension-ext-header.
    case extendedHeaders = 11
}
