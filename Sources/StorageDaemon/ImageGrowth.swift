import Foundation

/// Makes an image larger that nobody has open.
public enum ImageGrowth {
    /// Raises the size of the disk in a file. Blocks the thread.
    /// - Parameter size: bytes, more than the disk has.
    /// - Throws: `StorageDaemonError` with the reason; the disk then has the size that it had.
    public static func grow(_ image: ImageSpecification, to size: UInt64) throws {
        guard let path = image.path, let format = image.format else {
            throw StorageDaemonError(image.text, "only a file can be made larger here")
        }
        let full = path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
        let process = try StorageDaemonProcess(
            program: "qemu-img", arguments: ["resize", "-q", "-f", format, "file:\(full)", String(size)])
        let (status, said) = process.end()
        guard status == 0 else { throw StorageDaemonError(image.text, said.replacing("qemu-img: ", with: "")) }
    }
}
