@testable import NBD

/// Big-endian bytes.
func be<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

/// The reply to an option as the client sees it.
struct Answer: Equatable {
    var option: UInt32
    var type: UInt32
    var payload: [UInt8]

    /// Parses a sequence of replies; nil if it is none.
    static func all(in output: [UInt8]) -> [Answer]? {
        var rest = output[...]
        var answers: [Answer] = []
        while !rest.isEmpty {
            guard rest.count >= 20, rest.prefix(8) == be(UInt64(0x3_e889_0455_65a9))[...] else { return nil }
            let count = Int(number(rest.dropFirst(16).prefix(4)))
            guard rest.count >= 20 + count else { return nil }
            answers.append(
                Answer(
                    option: UInt32(number(rest.dropFirst(8).prefix(4))),
                    type: UInt32(number(rest.dropFirst(12).prefix(4))),
                    payload: Array(rest.dropFirst(20).prefix(count))))
            rest = rest.dropFirst(20 + count)
        }
        return answers
    }
}

func number(_ bytes: some Sequence<UInt8>) -> UInt64 {
    bytes.reduce(0) { $0 << 8 | UInt64($1) }
}

/// Two exports; the first is the default one.
struct Catalog: ExportCatalog {
    let all: [ExportDescription] = {
        var all = [
            ExportDescription(name: "disk", size: 1_000_000_007, isReadOnly: false),
            ExportDescription(name: "späte Scheibe", size: 1, isReadOnly: true),
        ]
        all[1].maps = ["nearblock:missing", "qemu:dirty-bitmap:backup"]
        return all
    }()

    func export(named name: String) -> ExportDescription? {
        name.isEmpty ? all[0] : all.first { $0.name == name }
    }

    func exports() -> [ExportDescription]? { all }
}

/// A handshake with all of its output.
struct Conversation {
    var handshake: Handshake
    var input: ArraySlice<UInt8> = []
    var output: [UInt8] = []
    var progress = Handshake.Progress.needsMore

    /// Passes the pieces to a new handshake, as long as it takes any.
    init(tls: TLSPolicy = .off, _ pieces: [UInt8]...) {
        handshake = Handshake(tls: tls)
        for piece in pieces { receive(piece) }
    }

    /// Passes bytes to the handshake and sends its output at once. When TLS begins, earlier bytes in the clear are
    /// dropped.
    mutating func receive(_ bytes: some Sequence<UInt8>) {
        guard progress == .needsMore || progress == .startTLS else { return input += bytes }
        input += bytes
        repeat {
            progress = handshake.receive(&input, output: &output, catalog: Catalog())
        } while progress == .needsSending
        if progress == .startTLS { input = [] }
    }

    var answers: [Answer]? { Answer.all(in: output) }
}
