/// A reason why no pages are found in the rest of Xen's stream.
enum XenProblem: Equatable, Sendable {
    case unknownStream
    case byteOrder
    case legacy
    case libxlVersion(UInt32)
    case imageHeader
    case imageVersion(UInt32)
    case pageBits(UInt16)
    case recordLength(type: UInt32, length: UInt32)
    case pageData(count: UInt32, length: UInt32)
}

extension XenProblem: CustomStringConvertible {
    /// A line for an operator's log.
    var description: String {
        switch self {
        case .unknownStream: "the stream begins like one of Xen, and is none"
        case .byteOrder: "the header of xl has an unknown byte order"
        case .legacy: "xl sends the format of Xen before 4.6"
        case .libxlVersion(let version): "libxl's stream has version \(version), not 2"
        case .imageHeader: "no image of libxc follows libxl's record for it"
        case .imageVersion(let version): "libxc's image has version \(version), not 2 or 3"
        case .pageBits(let bits): "the guest has pages of 2^\(bits) bytes"
        case .recordLength(let type, let length): "libxc's record of type \(type) has \(length) bytes"
        case .pageData(let count, let length): "libxc's record of \(count) pages has \(length) bytes"
        }
    }
}

extension StreamStep {
    static func problem(_ problem: XenProblem) -> StreamStep { .stop(problem.description) }
}
