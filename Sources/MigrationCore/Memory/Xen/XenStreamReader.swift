/// Reads what a toolstack of Xen sends when it migrates a domain.
///
/// xl puts a header of its own before libxl's stream, which is records. One of them hands the stream over to libxc, whose
/// image has headers and records again, some with pages. Its end hands the stream back to libxl. A toolstack may also begin
/// with libxl's stream, or with libxc's image (docs/specs/libxl-migration-stream.pandoc and
/// docs/specs/libxc-migration-stream.pandoc of Xen 4.21).
struct XenStreamReader: StreamReader {
    /// The kind of item that comes next.
    private enum Place {
        case beginning
        case libxlHeader, libxlRecord
        case imageHeader, imageRecord
        /// The talk of the toolstacks, once everything has been sent.
        case ended
    }

    private var place = Place.beginning
    /// Whether libxl's records are in big-endian order.
    private var isBigEndian = false
    private var image = XenImage()
    /// Whether the image is inside of libxl's stream.
    private var isInLibxl = false

    /// Whether a stream that begins with these 8 bytes may be one of Xen.
    static func mayBegin(with word: UInt64) -> Bool {
        word == XLHeader.magic || word == libxlMagic || word == XenImage.marker
    }

    /// The bytes `LibxlFmt`.
    private static let libxlMagic: UInt64 = 0x4c69_6278_6c46_6d74
    private static let libxlHeaderBytes = 16
    private static let libxlVersion: UInt32 = 2
    /// Types of libxl's records that say who goes on.
    private static let (libxlEnd, libxcContext, checkpointEnd): (UInt32, UInt32, UInt32) = (0, 1, 4)

    /// Xen has no post-copy.
    var stage: MemoryStage { .preCopy }

    mutating func next(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        switch place {
        case .imageRecord: imageRecord(bytes)
        case .beginning: begin(bytes)
        case .libxlHeader: libxlHeader(bytes)
        case .libxlRecord: libxlRecord(bytes)
        case .imageHeader: imageHeader(bytes)
        case .ended: .bytes(bytes.count)
        }
    }

    private mutating func begin(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= 8 else { return .more }
        switch bytes.bigEndian(UInt64.self, at: 0) {
        case XLHeader.magic:
            guard bytes.count >= XLHeader.byteCount else { return .more }
            place = .libxlHeader
            return XLHeader.step(bytes)
        case Self.libxlMagic: place = .libxlHeader
        default: place = .imageHeader
        }
        return next(bytes)
    }

    // MARK: libxl

    private mutating func libxlHeader(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= Self.libxlHeaderBytes else { return .more }
        guard bytes.bigEndian(UInt64.self, at: 0) == Self.libxlMagic else { return .problem(XenProblem.unknownStream) }
        let version = bytes.bigEndian(UInt32.self, at: 8)
        guard version == Self.libxlVersion else { return .problem(.libxlVersion(version)) }
        isBigEndian = bytes.bigEndian(UInt32.self, at: 12) & 1 != 0
        place = .libxlRecord
        return .bytes(Self.libxlHeaderBytes)
    }

    private mutating func libxlRecord(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= XenRecord.headerBytes else { return .more }
        let record = XenRecord(bytes, isBigEndian: isBigEndian)
        switch record.type {
        case Self.libxlEnd: place = .ended
        case Self.libxcContext:
            isInLibxl = true
            place = .imageHeader
        // After a checkpoint, libxc goes on in its image.
        case Self.checkpointEnd where isInLibxl: place = .imageRecord
        default: break
        }
        return record.step
    }

    // MARK: libxc

    private mutating func imageHeader(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        guard bytes.count >= XenImage.headerBytes else { return .more }
        let step = image.begin(bytes)
        place = .imageRecord
        return step
    }

    private mutating func imageRecord(_ bytes: UnsafeRawBufferPointer) -> StreamStep {
        let (step, event) = image.next(bytes)
        switch event {
        case .end: place = isInLibxl ? .libxlRecord : .ended
        case .checkpoint where isInLibxl: place = .libxlRecord
        case .checkpoint, nil: break
        }
        return step
    }
}
