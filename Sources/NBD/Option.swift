/// What a client can ask for in the handshake. Protocol text, "Option types".
enum Option: UInt32 {
    case exportName = 1
    case abort = 2
    case list = 3
    case info = 6
    case go = 7
}
