/// Reads libxc's image of a domain: two headers, and records, of which some have pages.
struct XenImage: Sendable {
    /// A record that ends a part of the image.
    enum Event {
        case end, checkpoint
    }

    /// The first 8 bytes of an image.
    static let marker = UInt64.max
    /// Bytes of the image's and the domain's header.
    static let headerBytes = 40

    /// The bytes `XENF`, behind the marker.
    private static let magic: UInt32 = 0x5845_4e46
    private static let versions: ClosedRange<UInt32> = 2...3
    private static let (end, pageData, checkpoint): (UInt32, UInt32, UInt32) = (0, 1, 14)
    /// Bytes of a record's body that libxc takes (tools/libs/guest/xg_sr_stream_format.h, `REC_LENGTH_MAX`).
    private static let mostBodyBytes: UInt32 = 128 << 20
    /// Bytes of a record of pages before the addresses: the record's header, and their number.
    private static let pageDataBytes = XenRecord.headerBytes + 8

    private var isBigEndian = false
    private var pageBytes = StreamPart.pageBytes

    /// Begins an image.
    /// - Parameter bytes: at least `headerBytes`.
    mutating func begin(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        let isImage =
            bytes.bigEndian(UInt64.self, at: 0) == Self.marker && bytes.bigEndian(UInt32.self, at: 8) == Self.magic
        guard isImage else { return .problem(.imageHeader) }
        let version = bytes.bigEndian(UInt32.self, at: 12)
        guard Self.versions.contains(version) else { return .problem(.imageVersion(version)) }
        isBigEndian = bytes.bigEndian(UInt16.self, at: 16) & 1 != 0
        let bits = bytes.number(UInt16.self, at: 28, isBigEndian: isBigEndian)
        guard (12...21).contains(bits) else { return .problem(.pageBits(bits)) }
        pageBytes = 1 << Int(bits)
        return .bytes(Self.headerBytes)
    }

    /// The next record, and what it ends.
    /// - Parameter bytes: at least 1 byte.
    mutating func next(_ bytes: UnsafeRawBufferPointer) -> (StreamStep, Event?) {
        guard bytes.count >= XenRecord.headerBytes else { return (.more, nil) }
        let record = XenRecord(bytes, isBigEndian: isBigEndian)
        guard record.length <= Self.mostBodyBytes else {
            return (.problem(.recordLength(type: record.type, length: record.length)), nil)
        }
        switch record.type {
        case Self.pageData: return (pages(record, bytes), nil)
        case Self.end: return (record.step, .end)
        case Self.checkpoint: return (record.step, .checkpoint)
        default: return (record.step, nil)
        }
    }

    /// A record with the addresses of pages, and then the pages.
    ///
    /// An address has a type, and pages of some types have no content. The record's length tells how many have.
    private func pages(_ record: XenRecord, _ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= Self.pageDataBytes else { return .more }
        let count = bytes.number(UInt32.self, at: XenRecord.headerBytes, isBigEndian: isBigEndian)
        let addresses = 8 * Int(count)
        let content = Int(record.length) + XenRecord.headerBytes - Self.pageDataBytes - addresses
        guard content >= 0, content % pageBytes == 0, content / pageBytes <= Int(count) else {
            return .problem(.pageData(count: count, length: record.length))
        }
        return .bytes(Self.pageDataBytes, others: addresses, pages: content)
    }
}
