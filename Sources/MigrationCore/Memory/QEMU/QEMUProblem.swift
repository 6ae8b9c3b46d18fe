/// A reason why no pages are found in the rest of a stream.
enum QEMUProblem: Equatable, Sendable {
    case encrypted
    case unknownStream(UInt64)
    case streamVersion(UInt32)
    case unknownSubsection
    case mappedRAM
    case colo
    case pageBytes(UInt64)
    case pageBits(UInt32)
    case unknownElement(UInt8)
    case unknownSection(UInt32)
    case tooManySections
    case otherFooter(UInt32)
    case ramVersion(UInt32)
    case ramFlags(UInt64)
    case blockList
    case compressedLength(Int)
    case multifdVersion(UInt32)
    case multifdPacket
    case multifdCompression(UInt32)
}

extension QEMUProblem: CustomStringConvertible {
    /// A line for an operator's log.
    var description: String {
        switch self {
        case .encrypted: "QEMU encrypts the stream with TLS"
        case .unknownStream(let word):
            "no stream of QEMU or Xen is known that begins with the bytes \(Self.hexadecimal(word))"
        case .streamVersion(let version): "QEMU's stream has version \(version), not 3"
        case .unknownSubsection: "QEMU's stream begins with a configuration that is unknown"
        case .mappedRAM: "mapped-ram is on: QEMU puts pages at their places in a file"
        case .colo: "x-colo is on"
        case .pageBytes(let count): "the guest has pages of \(count) bytes"
        case .pageBits(let bits): "the guest has pages of 2^\(bits) bytes"
        case .unknownElement(let type): "QEMU's stream has an element of unknown type \(type)"
        case .unknownSection(let id): "QEMU's stream continues section \(id), which has not begun"
        case .tooManySections: "QEMU's stream has more than \(QEMUMainChannel.mostSections) sections that continue"
        case .otherFooter(let id): "a section with memory ends with the footer of section \(id)"
        case .ramVersion(let version): "QEMU sends memory in version \(version), not 4"
        case .ramFlags(let flags): "QEMU sends memory with unknown flags \(Self.hexadecimal(flags))"
        case .blockList: "QEMU's list of memory blocks is malformed"
        case .compressedLength(let count): "QEMU sends a compressed page of \(count) bytes"
        case .multifdVersion(let version): "the multifd channel has version \(version), not 1"
        case .multifdPacket: "the multifd channel has a malformed packet"
        case .multifdCompression(let flags): "multifd-compression is on (\(Self.compression(flags)))"
        }
    }

    private static func hexadecimal(_ number: UInt64) -> String { "0x" + String(number, radix: 16) }

    /// The name of a value of QEMU's parameter multifd-compression (migration/multifd.h).
    private static func compression(_ flags: UInt32) -> String {
        switch flags >> 1 {
        case 1: "zlib"
        case 2: "zstd"
        case 4: "qpl"
        case 8: "uadk"
        case 16: "qatzip"
        default: "unknown, \(flags >> 1)"
        }
    }
}

extension StreamStep {
    static func problem(_ problem: QEMUProblem) -> StreamStep { .stop(problem.description) }
}
