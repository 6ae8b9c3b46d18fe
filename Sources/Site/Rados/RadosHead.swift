import Foundation
import Index

/// The entry of one file in a folder of a RADOS store.
struct RadosHead: Sendable {
    /// A larger file is none that a host opens, so that a head can't name more pieces.
    static let mostPieces = StoredPages.largest / UInt64(RadosFiles.pieceSize)

    private struct Form: Codable {
        var size: UInt64
        var id: String
        var host: String
        /// First and last number of each run of pieces that are there. The others are zeros.
        var pieces: [[UInt64]]
    }

    private var form: Form

    /// In bytes.
    var size: UInt64 { form.size }
    /// Random, 32 hexadecimal digits.
    var id: String { form.id }
    /// The host that has written the file, or that removes it.
    var host: String { form.host }

    /// A new file, of which no piece is there yet.
    init(size: UInt64, host: String) {
        let id = (0..<2).map { _ in
            let digits = String(UInt64.random(in: 0 ... .max), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        form = Form(size: size, id: id.joined(), host: host, pieces: [])
    }

    /// Reads what some host has written; nil if it makes no sense.
    init?(_ data: Data) {
        guard let form = try? JSONDecoder().decode(Form.self, from: data) else { return nil }
        self.form = form
        var next: UInt64 = 0
        let isSound = form.pieces.allSatisfy { run in
            guard run.count == 2, run[0] >= next, run[0] <= run[1], run[1] < pieceCount else { return false }
            next = run[1] + 1
            return true
        }
        guard isSound, form.id.utf8.count == 32, form.id.utf8.allSatisfy({ $0 < 128 }),
            form.id.allSatisfy(\.isHexDigit), HostName.isValid(form.host), pieceCount <= Self.mostPieces
        else { return nil }
    }

    var pieceCount: UInt64 {
        form.size / UInt64(RadosFiles.pieceSize) + (form.size % UInt64(RadosFiles.pieceSize) == 0 ? 0 : 1)
    }

    /// The pieces that are there.
    var pieces: [ClosedRange<UInt64>] { form.pieces.map { $0[0]...$0[1] } }

    func count(ofPiece number: UInt64) -> Int {
        Int(min(UInt64(RadosFiles.pieceSize), form.size - number * UInt64(RadosFiles.pieceSize)))
    }

    func object(_ number: UInt64) -> String { "data/\(form.id)/\(number)" }

    /// Says that a piece is there; pieces come in order.
    mutating func add(_ number: UInt64) {
        if let last = form.pieces.indices.last, form.pieces[last][1] + 1 == number {
            form.pieces[last][1] = number
        } else {
            form.pieces.append([number, number])
        }
    }

    /// The same with all pieces, for the removal of whatever is there.
    func withAllPieces() -> RadosHead {
        var head = self
        head.form.pieces = pieceCount == 0 ? [] : [[0, pieceCount - 1]]
        return head
    }

    /// The same without the pieces before one.
    func from(_ number: UInt64) -> RadosHead {
        var head = self
        head.form.pieces = form.pieces.filter { $0[1] >= number }.map { [max($0[0], number), $0[1]] }
        return head
    }

    /// The same, written by another host.
    func of(_ host: String) -> RadosHead {
        var head = self
        head.form.host = host
        return head
    }

    func encoded() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return try encoder.encode(form)
    }
}
