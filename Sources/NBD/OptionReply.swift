/// The replies to options. Protocol text, "Option reply types".
enum OptionReply: UInt32 {
    case acknowledge = 1
    case server = 2
    case information = 3
    case metaContext = 4
    case unsupported = 0x8000_0001
    case policy = 0x8000_0002
    case invalid = 0x8000_0003
    case tlsRequired = 0x8000_0005
    case unknownExport = 0x8000_0006
    case tooBig = 0x8000_0009
    case extendedHeadersRequired = 0x8000_000a

    /// Whether the option was refused.
    var isError: Bool { rawValue >> 31 == 1 }
}
