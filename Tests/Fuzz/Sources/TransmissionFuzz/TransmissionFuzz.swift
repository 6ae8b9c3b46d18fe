// Feeds the parser, the judgement and the writers of requests and replies with libFuzzer's inputs.
//
// The first byte chooses style, contexts and kind of export; the rest is a client's stream. What must hold: it never
// crashes; a request that may be served lies within the disk and within the limits; a refused one is refused for a
// reason that the protocol knows; and every reply is one whole message with the request's cookie.

@testable import NBD

func check(_ holds: Bool, _ complaint: StaticString) {
    if !holds { fatalError("\(complaint)") }
}

func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }

/// The reply that `store` writes, taken apart: it must fill what it says it fills.
func checkReply(_ style: HeaderStyle, _ cookie: UInt64, _ data: Int, _ store: (UnsafeMutableRawPointer) -> Int) {
    var room = [UInt8](repeating: 0xa5, count: 64)
    let count = room.withUnsafeMutableBytes { store($0.baseAddress!) }
    check(count <= Reply.maximumHeader && room[count...].allSatisfy { $0 == 0xa5 }, "a header is too long")
    check(number(room[8..<16]) == cookie, "another cookie")
    switch style {
    case .simple:
        check(count == 16 && number(room[..<4]) == 0x6744_6698, "no simple reply")
    case .structured:
        check(number(room[..<4]) == 0x668e_33ef && Int(number(room[16..<20])) == count - 20 + data, "a wrong length")
    case .extended:
        check(number(room[..<4]) == 0x6e8a_278c && Int(number(room[24..<32])) == count - 32 + data, "a wrong length")
    }
}

/// libFuzzer calls it with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTransmission(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count >= 1 else { return 0 }
    let choice = Int(start[0])
    let style: HeaderStyle = [.simple, .structured, .extended][choice % 3]
    let size: UInt64 = [1, 4096, 1 << 40, .max >> 1][choice / 3 % 4]
    let negotiation = Negotiation(
        export: ExportDescription(name: "d", size: size, isReadOnly: choice & 64 != 0), style: style,
        contexts: choice & 128 != 0 && style != .simple ? [.allocation] : [])
    var position = 1
    while count - position >= style.requestHeaderLength {
        guard let request = Request(header: start + position, style: style) else { return 0 }
        position += style.requestHeaderLength
        let verdict = request.verdict(under: negotiation.terms)
        judge(request, verdict, negotiation)
        checkReply(style, request.cookie, 0) {
            Reply.storeEnd(style, error: verdict, cookie: request.cookie, offset: request.offset, to: $0)
        }
        if verdict == .none, request.command == .read, request.length > 0 {
            checkReply(style, request.cookie, Int(request.length)) {
                Reply.storeData(
                    style, cookie: request.cookie, offset: request.offset, count: Int(request.length), to: $0)
                return style.dataHeaderLength
            }
        }
        if verdict == .none, request.command == .blockStatus {
            checkReply(style, request.cookie, 3 * Reply.extentLength(style)) {
                Reply.storeStatus(
                    style, .allocation, cookie: request.cookie, offset: request.offset, count: 3, isLast: true, to: $0)
                return Reply.statusHeaderLength(style)
            }
        }
        guard let payload = Int(exactly: request.payloadLength), payload <= count - position else { return 0 }
        position += payload
    }
    return 0
}

func judge(_ request: Request, _ verdict: ErrorCode, _ negotiation: Negotiation) {
    let size = negotiation.export.size
    check([.none, .notPermitted, .invalid, .noSpace, .overflow].contains(verdict), "a strange error")
    guard verdict == .none, let command = request.command, command != .disconnect, command != .flush else {
        check(verdict != .none || request.command != nil, "an unknown command is served")
        return
    }
    check(request.offset <= size && request.length <= size - request.offset, "beyond the end")
    if command == .read || command == .write { check(request.length <= 64 << 20, "too long") }
    if command == .write { check(request.payloadLength == request.length, "a write of other bytes") }
    if [.write, .trim, .writeZeroes].contains(command) { check(!negotiation.export.isReadOnly, "read-only") }
    if command == .blockStatus { check(!negotiation.contexts.isEmpty && request.length > 0, "a status of nothing") }
}
