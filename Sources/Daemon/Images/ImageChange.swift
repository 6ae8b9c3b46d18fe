import Block

/// What has become of the image of an export since clients were last told of it.
enum ImageChange: Equatable, Sendable {
    case same
    /// Another file, or device, stands at its path.
    case replaced
    /// It is longer or shorter than clients are told.
    case resized(to: UInt64)
    /// Nothing can be seen at its path, for this reason.
    case missing(String)

    /// Compares what is open with what is at its path.
    /// - Parameters:
    ///   - size: bytes of what is open.
    ///   - told: bytes that clients are told.
    init(open: ImageSighting, atPath: ImageSighting, size: UInt64, told: UInt64) {
        guard open == atPath else {
            self = .replaced
            return
        }
        self = size == told ? .same : .resized(to: size)
    }

    /// Looks. Blocks the thread, as long as the file system takes.
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
