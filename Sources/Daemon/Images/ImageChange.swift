import Block

/// Difference between an export's open image and the file at its path.
enum ImageChange: Equatable, Sendable {
    case same
    /// Another file or device is at the path.
    case replaced
    /// The image is longer or shorter than clients were told.
    case resized(to: UInt64)
    /// The path can't be examined, for this reason.
    case missing(String)

    /// Compares the open image with the file at its path.
    /// - Parameters:
    ///   - size: Current size in bytes of the open image.
    ///   - told: Size in bytes that clients were told.
    init(open: ImageSighting, atPath: ImageSighting, size: UInt64, told: UInt64) {
        guard open == atPath else {
            self = .replaced
            return
        }
        self = size == told ? .same : .resized(to: size)
    }

    /// Examines the image and the path. Blocks the thread for as long as the file system takes.
    init(of image: RawImage, at path: String, told: UInt64) {
        do {
            self.init(
                open: try ImageSighting(of: image), atPath: try ImageSighting(path: path),
                size: try image.currentSize(), told: told)
        } catch {
            self = .missing("\(error)")
        }
    }
}
