/// Finds where the extents of an LVM physical volume begin. libblkid knows the volume and not its extents.
///
/// The format is that of lvm2's `format_text/layout.h`. One of the first four sectors has a label, and behind it a list of data
/// areas. The first of these are the extents.
enum PhysicalVolume {
    private static let sector = 512
    private static let labelSectors = 4
    private static let magic = Array("LABELONE".utf8)
    private static let type = Array("LVM2 001".utf8)
    /// In the volume's header, behind its name and its size.
    private static let firstArea = 40

    /// Bytes from the start of the volume; nil if there is none.
    static func extents(in part: DiskBytes) -> UInt64? {
        guard let bytes = try? part.read(at: 0, count: labelSectors * sector) else { return nil }
        for start in stride(from: 0, to: bytes.count, by: sector) {
            let label = Array(bytes[start..<start + sector])
            guard label.starts(with: magic), label[24..<32].elementsEqual(type) else { continue }
            let header = label.littleEndian(UInt32.self, at: 20)
            guard Int(header) + firstArea + 8 <= sector else { return nil }
            let offset: UInt64 = label.littleEndian(at: Int(header) + firstArea)
            return offset > 0 && offset < part.size ? offset : nil
        }
        return nil
    }
}
