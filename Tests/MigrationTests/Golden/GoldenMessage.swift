import NIOCore
import Testing

@testable import Migration
@testable import MigrationProtocol

/// A message and the bytes that it has had on the wire since it was introduced.
struct GoldenMessage: Sendable, CustomTestStringConvertible {
    let name: String
    let message: Message
    /// The frame without its length, a space between fields.
    let hex: String

    init(_ name: String, _ message: Message, _ hex: String) {
        self.name = name
        self.message = message
        self.hex = hex
    }

    var testDescription: String { name }
    var bytes: ByteBuffer { GoldenValues.bytes(hex) }
    var digits: String { hex.filter { !$0.isWhitespace } }
}
