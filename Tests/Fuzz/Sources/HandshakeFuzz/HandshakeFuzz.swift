// Feeds the handshake of NBD clients with libFuzzer's inputs.
//
// The first byte chooses the TLS policy, the second how the rest is cut. What must hold: it never crashes; however the
// bytes are cut, the same is said and the same comes of it; what is said are whole option replies; and a choice names an
// export that exists.

@testable import NBD

struct FuzzCatalog: ExportCatalog {
    static let disks = [
        ExportDescription(name: "disk", size: 1 << 40, isReadOnly: false, text: "a disk"),
        ExportDescription(name: "é", size: 1, isReadOnly: true, isRotational: true),
    ]

    func export(named name: String) -> ExportDescription? {
        name.isEmpty ? Self.disks[0] : Self.disks.first { $0.name == name }
    }

    func exports() -> [ExportDescription]? { Self.disks }
}

struct FuzzConversation {
    private var handshake: Handshake
    private var input: ArraySlice<UInt8> = []
    private(set) var output: [UInt8] = []
    private(set) var progress = Handshake.Progress.needsMore
    private(set) var tlsBegan = 0

    init(_ policy: TLSPolicy) { handshake = Handshake(tls: policy) }

    var isOver: Bool {
        switch progress {
        case .transmission, .close: true
        default: false
        }
    }

    mutating func hear(_ bytes: ArraySlice<UInt8>) {
        guard !isOver else { return }
        input += bytes
        repeat {
            progress = handshake.receive(&input, output: &output, catalog: FuzzCatalog())
            // Inside TLS the talk goes on with what follows; a fuzzer has no attacker in between.
            if progress == .startTLS { tlsBegan += 1 }
        } while progress == .needsSending || progress == .startTLS
        precondition(isOver || input.count <= 16 + (64 << 10), "more is kept than one option")
    }
}

/// Whether the bytes are whole replies; EXPORT_NAME is answered with 10 or 134 bytes of another kind, at the end.
func areReplies(_ output: [UInt8]) -> Bool {
    var rest = output[...]
    while rest.count >= 20, rest.prefix(8) == [0, 3, 0xe8, 0x89, 4, 0x55, 0x65, 0xa9] {
        let count = rest.dropFirst(16).prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard rest.count >= 20 + count else { return false }
        rest = rest.dropFirst(20 + count)
    }
    return [0, 10, 134].contains(rest.count)
}

/// libFuzzer calls it with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHandshake(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count >= 2 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    let policy: TLSPolicy = [.off, .optional, .required][Int(bytes[0]) % 3]
    let step = Int(bytes[1]) + 1
    var whole = FuzzConversation(policy)
    whole.hear(bytes[2...])
    var cut = FuzzConversation(policy)
    for position in stride(from: 2, to: bytes.count, by: step) {
        cut.hear(bytes[position..<min(position + step, bytes.count)])
    }
    precondition(whole.output == cut.output && whole.progress == cut.progress, "the cut makes a difference")
    precondition(areReplies(whole.output), "what is said are no replies")
    precondition(policy != .off || whole.tlsBegan == 0, "TLS begins where there is none")
    if case .transmission(let negotiation) = whole.progress {
        precondition(FuzzCatalog.disks.contains(negotiation.export), "an export that does not exist")
        precondition(policy != .required || whole.tlsBegan == 1, "served without TLS")
        precondition(negotiation.contexts.isEmpty || negotiation.style != .simple, "contexts without chunks")
    }
    return 0
}
